"""A pipeline of two cheap stages in the form of this repository's, under real git and real DVC."""

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.project import Project

PIPELINE = """\
stages:
  train:
    cmd: python stages/train.py
    params: [train]
    deps: [data, stages/train.py, src/vit_atlas]
    outs: [build/model]
  evaluate:
    cmd: python stages/evaluate.py
    deps: [build/model, stages/evaluate.py]
    outs:
      - build/predictions.csv
      - metrics/evaluate.json: {cache: false}
metrics:
  - metrics/evaluate.json
"""
TRAIN = """\
import os, pathlib, vit_atlas
text = pathlib.Path("data/numbers.txt").read_text()
pathlib.Path("build/model").mkdir(parents=True, exist_ok=True)
noise = os.environ.get("NOISE", "")  # stands for another processor
pathlib.Path("build/model/weights").write_text(text + vit_atlas.CODE + noise)
pathlib.Path("runs.txt").open("a").write("train ")
"""
EVALUATE = """\
import json, os, pathlib
noise = pathlib.Path("build/model/weights").read_text().count("~") / 100
result = {"accuracy": 0.7 + noise, "accuracy_low": 0.65 + noise, "accuracy_high": 0.75 + noise, "winner": "head"}
pathlib.Path("build/predictions.csv").write_text(f"{noise}")
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/evaluate.json").write_text(json.dumps(result))
"""


LOCK = f"""dvc==0.0.1 \\
    --hash=sha256:0
pyyaml=={version("pyyaml")} \\
    --hash=sha256:1
"""
"""As `make lock HASHES=1` writes it: the one package has another version, the other has not."""


def make_toy(folder: Path) -> Project:
    """Lay the project out, run it, and commit the result."""
    files = {
        "dvc.yaml": PIPELINE,
        "params.yaml": "train: {epochs: 1}\n",
        "stages/train.py": TRAIN,
        "stages/evaluate.py": EVALUATE,
        "src/vit_atlas/__init__.py": "CODE = 'first'\n",
        "data/numbers.txt": "1 2 3\n",
        ".gitignore": "/build/\n/data\n/runs.txt\n__pycache__/\n",
        "requirements.lock": LOCK,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    project = Project(folder)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "init", "--quiet")
    project.run("dvc", "config", "core.analytics", "false")
    project.run("dvc", "add", "--quiet", "data")
    project.run("env", "PYTHONPATH=src", "dvc", "repro", "--quiet")
    project.commit("first result")
    return project


@pytest.fixture(scope="session")
def finished_toy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with its first result. Tests change copies of it."""
    return make_toy(tmp_path_factory.mktemp("reproduce") / "toy")


@pytest.fixture
def toy(finished_toy: Project, tmp_path: Path) -> Project:
    """A copy of the project, to change at will."""
    shutil.copytree(finished_toy.folder, tmp_path / "toy", symlinks=True)
    return Project(tmp_path / "toy")


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files of a folder, DVC's own scratch (.dvc/tmp) aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_relative_to(folder / ".dvc" / "tmp")
    }
