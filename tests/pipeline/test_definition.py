"""dvc.yaml says the truth about what the stages read."""

import ast
from pathlib import Path

import pytest
import yaml

SHARED = {
    "vit_atlas.errors": "wording of errors",
    "vit_atlas.files": "how a file is written, not what is in it",
    "vit_atlas.paths": "the places that dvc.yaml names itself",
    "vit_atlas.settings": "the values are params",
    "vit_atlas.stage": "how a stage ends",
    "vit_atlas.figures.style": "the look of all figures",
    "vit_atlas": "the version",
}
"""Modules that every stage may import and none has to declare, and why a change there leaves results as they are."""

STAGES = ["prepare", "finetune", "evaluate", "embed-viz", "attn-viz", "caption-train", "caption-attn", "report"]

MIRROR = "vit_atlas.tracking"
"""Tracking shows results and makes none, so it is nobody's dependency."""


def stage_scripts(root: Path) -> dict[str, Path]:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    return {name: root / stage["cmd"].split()[1] for name, stage in stages.items()}


def module_path(root: Path, module: str) -> Path | None:
    base = root / "src" / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imported_modules(root: Path, path: Path) -> set[str]:
    """The package's modules that a file imports, at its top or within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("vit_atlas")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vit_atlas"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {module for module in found if module_path(root, module)}


def needed_modules(root: Path, script: Path) -> set[str]:
    """All modules behind a stage script, through every import, less the shared ones."""
    needed: set[str] = set()
    waiting = [script]
    while waiting:
        for module in imported_modules(root, waiting.pop()):
            if module in SHARED or module.startswith(MIRROR) or module in needed:
                continue
            needed.add(module)
            path = module_path(root, module)
            assert path is not None
            waiting.append(path)
    return needed


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_the_code_a_stage_runs_and_no_more(root: Path, stage: str) -> None:
    script = stage_scripts(root)[stage]
    deps = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage]["deps"]
    assert str(script.relative_to(root)) in deps
    code = [dep for dep in deps if dep.startswith("src/")]
    files = {str(module_path(root, module).relative_to(root)) for module in needed_modules(root, script)}  # type: ignore[union-attr]
    files = {file for file in files if (root / file).stat().st_size > 400 or not file.endswith("__init__.py")}
    undeclared = {file for file in files if not any(file == dep or file.startswith(f"{dep}/") for dep in code)}
    assert not undeclared, f"{stage} runs code that dvc.yaml does not list under its deps"
    unused = {dep for dep in code if not any(file == dep or file.startswith(f"{dep}/") for file in files)}
    assert not unused, f"{stage} declares code that it does not run"


def test_params_are_the_sections_that_each_script_reads(root: Path) -> None:
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name, script in stage_scripts(root).items():
        read: set[str] = set()
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"read_settings", "load_settings"}:
                assert node.func.id == "read_settings", f"{name} must name the sections it reads"  # type: ignore[attr-defined]
                read |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}  # type: ignore[misc]
        assert set(stages[name].get("params", [])) == read, name


def test_stages_are_thin(root: Path) -> None:
    for script in (root / "stages").glob("*.py"):
        assert len(script.read_text().splitlines()) <= 80, script.name


def test_heavy_stages_have_cached_outs_alone(root: Path) -> None:
    """An out with `cache: false` would turn DVC's run-cache off for the stage."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    for name in ("finetune", "caption-train"):
        assert all(isinstance(out, str) for out in stages[name]["outs"]), name


def test_numbers_that_git_compares_are_kept_in_git(root: Path) -> None:
    content = yaml.safe_load((root / "dvc.yaml").read_text())
    uncached = {
        next(iter(out)) for stage in content["stages"].values() for out in stage["outs"] if isinstance(out, dict)
    }
    assert set(content["metrics"]) <= uncached
