"""What the source may not hold: ways to run a pickle or a model's own code, to load YAML objects, to unpack blindly.

Read from the syntax tree, so comments and strings do not count.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import Trainer

ROOT = Path(__file__).resolve().parents[2]
FILES = [path for folder in ("src", "stages", "scripts", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]

NAMED = {
    "from_pretrained": ("trust_remote_code", False),
    "from_config": ("trust_remote_code", False),
    "torch.load": ("weights_only", True),
}
"""Calls that are safe with one argument only; that may come from a dict that the same file holds."""

PICKLES = ("pickle", "dill", "joblib", "cloudpickle", "marshal")

FORBIDDEN = {
    *(f"{module}.{call}" for module in PICKLES for call in ("load", "loads")),
    *("pickle.Unpickler", "pandas.read_pickle", "pd.read_pickle", "shelve.open", "torch.hub.load", "torch.jit.load"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system", "os.popen"),
    *("shutil.unpack_archive", "unpack_archive", "tempfile.mktemp"),
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Dotted name and node of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def has(node: ast.Call, source: str, argument: str, value: bool) -> bool:
    """Whether a call gives ``argument`` the constant ``value``, itself or through ``**options`` of the same file."""
    given = {item.arg: item.value for item in node.keywords}
    if argument in given:
        return isinstance(given[argument], ast.Constant) and given[argument].value is value
    return None in given and f'"{argument}": {value}' in source


def problems(path: Path, source: str) -> list[str]:
    """What a file does that it may not."""
    found = []
    for name, node in calls(path):
        place = f"{path.name}:{node.lineno} {name}"
        last = name.rpartition(".")[2]
        if name in FORBIDDEN:
            found.append(f"{place} is not allowed")
        if last in ("extractall", "extract") and not has(node, source, "filter", True) and "zip" not in name:
            found.append(f"{place} unpacks whatever names an archive holds")
        for key in {name, last} & NAMED.keys():
            argument, value = NAMED[key]
            if not has(node, source, argument, value):
                found.append(f"{place} without {argument}={value}")
        for argument in ("shell", "allow_pickle"):
            if any(item.arg == argument and ast.unparse(item.value) != "False" for item in node.keywords):
                found.append(f"{place} with {argument}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_unsafe_is_called(path: Path) -> None:
    assert problems(path, path.read_text(encoding="utf-8")) == []


def test_resuming_reads_no_pickle() -> None:
    """The trainer reads the optimizer, the schedule and the random state of a checkpoint; here is how."""
    path = Path(inspect.getfile(Trainer))
    loads = [node for name, node in calls(path) if name == "torch.load"]
    assert len(loads) >= 3
    assert all(has(node, "", "weights_only", True) for node in loads)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pickle.loads(content)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, **options)",
        "yaml.load(text, Loader=yaml.Loader)",
        "archive.extractall(folder)",
        "subprocess.run(command, shell=True)",
        "eval(text)",
    ],
)
def test_the_search_finds_what_it_looks_for(line: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(line)
    assert len(problems(path, line)) == 1
