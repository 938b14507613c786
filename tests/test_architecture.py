"""Imports point one way: who may know whom, and what loads no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from vit_atlas.code_hash import ROOT, file_closure, module_path

FIGURES_MAY = ("vit_atlas.figures", "vit_atlas.io", "vit_atlas.errors")
ROOMS = ["attention", "captioning", "evaluation", "interventions", "finetune", "training", "models", "data"]
LIGHT = (
    "vit_atlas",
    "vit_atlas.settings",
    "vit_atlas.cli",
    "vit_atlas.estimates",
    "vit_atlas.attention.methods",
    "vit_atlas.attention.summary",
    "vit_atlas.captioning.measure.summary",
    "vit_atlas.comparison.page",
    "vit_atlas.evaluation.summary",
    "vit_atlas.interventions.summary",
    "vit_atlas.data.summary",
    "vit_atlas.repeats.seeds",
)


def modules(folder: str) -> list[str]:
    return [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in (ROOT / folder).rglob("*.py")]


def imports_of(module: str) -> str:
    path = module_path(module.removesuffix(".__init__"))
    assert path is not None
    return path.read_text()


@pytest.mark.parametrize("module", modules("figures"))
def test_figures_draw_plain_values(module: str) -> None:
    path = module_path(module.removesuffix(".__init__"))
    assert path is not None
    foreign = [name for name in file_closure(path) if not name.startswith(FIGURES_MAY)]
    assert not foreign


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_that_measure_draw_nothing(room: str) -> None:
    for module in modules(room):
        assert "matplotlib" not in imports_of(module), module
        path = module_path(module.removesuffix(".__init__"))
        assert path is not None
        assert not [name for name in file_closure(path) if name.startswith(("vit_atlas.figures", "vit_atlas.pictures"))]


@pytest.mark.parametrize("module", LIGHT)
def test_what_is_asked_often_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'mlflow')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_of_every_command_loads_no_torch() -> None:
    code = """
import sys
from typer.testing import CliRunner
from vit_atlas.cli import commands
names = [[], *([c.name or c.callback.__name__] for c in commands.registered_commands), ["data"]]
for name in names:
    assert CliRunner().invoke(commands, [*name, "--help"]).exit_code == 0, name
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_file_is_long(root: Path) -> None:
    files = [path for folder in ("src", "stages", "bench") for path in (root / folder).rglob("*.py")]
    assert not [path.name for path in files if len(path.read_text().splitlines()) > 400]
