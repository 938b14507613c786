"""dvc.yaml says the truth about what the stages read."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vit_atlas.code_hash import file_closure, module_path

STAGES = ["prepare", "finetune", "evaluate", "embed-viz", "attn-viz", "caption-train", "caption-attn", "report"]


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
        ("finetune", "vit_atlas.evaluation.evaluate"),
        *((stage, "vit_atlas.cli.compare") for stage in STAGES),
    ],
)
def test_editing_a_score_never_trains_again(root: Path, stage: str, module: str) -> None:
    assert module_path(module) is not None
    assert module not in file_closure(stage_scripts(root)[stage])


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
