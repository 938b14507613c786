"""dvc.yaml says the truth about what the stages read."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.project import STAGES, Project
from vit_atlas.code_hash import file_closure, module_path
from vit_atlas.settings import CaptionsSettings, FinetuneSettings, Settings


def stage_scripts(root: Path) -> dict[str, Path]:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    return {name: root / stage["cmd"].split()[1] for name, stage in stages.items()}


def test_deps_are_exactly_the_code_behind_each_script(root: Path) -> None:
    """Nothing missing, nothing more: `scripts/update-deps` writes them."""
    done = subprocess.run([sys.executable, root / "scripts" / "update-deps", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run scripts/update-deps:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("stage", "module"),
    [
        ("caption-train", "vit_atlas.captioning.measure.texts"),
        ("finetune", "vit_atlas.attention.scores"),
        ("finetune", "vit_atlas.evaluation.summary"),
        *((stage, "vit_atlas.cli.compare") for stage in STAGES),
    ],
)
def test_editing_a_score_never_trains_again(root: Path, stage: str, module: str) -> None:
    assert module_path(module) is not None
    assert module not in file_closure(stage_scripts(root)[stage])


def sections_read(script: Path) -> set[str]:
    """Sections that a script reads as ``settings.data``; one that hands all on is asked for what its summaries read."""
    tree = ast.parse(script.read_text())
    hands_on = any(
        isinstance(node, ast.Call) and any(getattr(argument, "id", "") == "settings" for argument in node.args)
        for node in ast.walk(tree)
    )
    if hands_on and script.name == "report.py":
        return set(Settings.model_fields)
    summaries = [path for name, path in file_closure(script).items() if name.endswith(".summary") and hands_on]
    nodes = [node for one in (tree, *(ast.parse(path.read_text()) for path in summaries)) for node in ast.walk(one)]
    # How many processes share the photos changes nothing where nothing is trained: no reason to run a stage again.
    unread = {node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == "processes"}
    return {name for node in nodes if node not in unread for name in _sections(node)}


def _sections(node: ast.AST) -> set[str]:
    """The section in ``settings.data`` or ``load_settings().data``."""
    if not isinstance(node, ast.Attribute):
        return set()
    base = node.value.func if isinstance(node.value, ast.Call) else node.value
    return {node.attr} & set(Settings.model_fields) if getattr(base, "id", "") in _NAMES else set()


_NAMES = ("settings", "load_settings")


def test_params_are_the_sections_that_each_script_reads(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name, script in stage_scripts(root).items():
        assert {key.split(".")[0] for key in stages[name].get("params", [])} == sections_read(script), name


def test_more_repeats_train_no_model_again(root: Path) -> None:
    """A training declares every key of its section but those of other trainings and of the cache between them."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    keys = {f"finetune.{key}" for key in FinetuneSettings.model_fields}
    keys -= {"finetune.repeats", "finetune.trunk_cache_gb"}
    assert {key for key in stages["finetune"]["params"] if key.startswith("finetune.")} == keys
    assert {key for key in stages["repeat"]["params"] if key.startswith("finetune.")} == keys - {
        "finetune.seed",
        "finetune.linear_probe",
    }
    keys = {f"captions.{key}" for key in CaptionsSettings.model_fields} - {"captions.repeats"}
    assert {*stages["caption-attn"]["params"]} == keys
    assert {*stages["caption-repeat"]["params"]} == {"captioner", *keys}


def test_stage_scripts_have_one_shape(root: Path) -> None:
    """What it is; imports; `main`, which reads the settings first, if any; and the one way to end."""
    for name, script in stage_scripts(root).items():
        tree = ast.parse(script.read_text())
        assert (ast.get_docstring(tree) or "").startswith(f"{name}: "), name
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert set(imports) <= set(tree.body), f"{name} imports inside a function"
        (main,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        if sections_read(script):
            assert ast.unparse(main.body[0]).startswith("settings = load_settings()"), name
        assert ast.unparse(tree.body[-1]) == "if __name__ == '__main__':\n    run_stage(main)", name


def test_only_prepare_walks_the_photos(root: Path) -> None:
    """The others depend on tables that hold the files' hashes, so that `dvc repro` looks at each photo twice only."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    assert [name for name, stage in stages.items() if "data/classification" in stage["deps"]] == ["prepare"]


@pytest.mark.parametrize("stage", ["attn-viz", "suspects", "metrics", "report"])
def test_a_stage_reads_only_what_it_depends_on(project: Project, stage: str, tmp_path: Path) -> None:
    """Of the files in the project; that code is declared is asked of its imports above."""
    folder, found = project.folder, tmp_path / "opened.json"
    definition = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][stage]
    deps, params = definition["deps"], definition.get("params", [])
    declared = [*deps, *(next(iter(out)) if isinstance(out, dict) else out for out in definition["outs"])]
    declared += ["params.yaml"] if params else []
    if "model" in params:
        declared.append(yaml.safe_load((folder / "params.yaml").read_text())["model"]["name"])
    for table, column in (("build/prepared/manifest.csv", "path"), ("build/prepared/masks.csv", "mask")):
        if any(map(Path(table).is_relative_to, deps)):  # It has the hash of every file that it names.
            declared += pd.read_csv(folder / table)[column].dropna().tolist()
    if stage == "report":  # How a result was made is told beside it, and is none of its inputs.
        declared += [".git", "dvc.lock", "data.dvc", ".checkpoints/training.json"]
    there = {path for path in folder.rglob("*") if path.is_file()}
    project.run("python", str(Path(__file__).with_name("reading.py")), definition["cmd"].split()[1], str(found))
    opened = {path.relative_to(folder) for path in there & set(map(Path, json.loads(found.read_text())))}
    assert any(any(map(path.is_relative_to, deps)) for path in opened if path.suffix != ".py")
    assert sorted(str(path) for path in opened if not any(map(path.is_relative_to, declared))) == []


def test_stage_scripts_are_thin(root: Path) -> None:
    long = {script.name for script in (root / "stages").glob("*.py") if len(script.read_text().splitlines()) > 30}
    assert not long


def test_heavy_stages_have_cached_outs_alone(root: Path) -> None:
    """An out with `cache: false` would turn DVC's run-cache off for the stage."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name in stages.keys() - {"metrics", "report"}:
        assert all(isinstance(out, str) for out in stages[name]["outs"]), name


def test_the_metrics_stage_loads_no_model_library(root: Path) -> None:
    code = "import sys; sys.path.insert(0, 'stages'); import metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_numbers_that_git_compares_are_kept_in_git(root: Path) -> None:
    content = yaml.safe_load((root / "dvc.yaml").read_text())
    uncached = {
        next(iter(out)) for stage in content["stages"].values() for out in stage["outs"] if isinstance(out, dict)
    }
    assert set(content["metrics"]) <= uncached
