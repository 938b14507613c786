"""`make sample` brings the sample, and never takes photos that DVC does not have."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.project import Project

MAKER = """#!/usr/bin/env bash
# Stands for `vit-atlas data stickers`, which refuses to replace what it did not make.
[[ -e data/classification/mine.jpg && "$3" != --replace ]] && { echo "error: holds something else" >&2; exit 1; }
rm -rf data && mkdir -p data/classification && echo sample > data/classification/sources.csv
"""


@pytest.fixture
def own(tmp_path: Path) -> Project:
    """A project with photos of the user's own that DVC does not have yet."""
    project = Project(tmp_path)
    for command in (("git", "init", "--quiet"), ("dvc", "init", "--quiet")):
        project.run(*command)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vit-atlas").write_text(MAKER)
    (tmp_path / "bin" / "vit-atlas").chmod(0o755)
    (tmp_path / "data" / "classification").mkdir(parents=True)
    (tmp_path / "data" / "classification" / "mine.jpg").write_text("mine")
    return project


def bring(project: Project, root: Path) -> int:
    environment = project.environment()
    environment["PATH"] = f"{project.folder / 'bin'}{os.pathsep}{environment['PATH']}"
    script = root / "scripts" / "bring-sample"
    return subprocess.run([script], cwd=project.folder, env=environment, capture_output=True).returncode


def test_photos_that_dvc_has_give_way_and_come_back(own: Project, root: Path) -> None:
    own.run("dvc", "add", "--quiet", "data")
    own.commit("mine")
    assert bring(own, root) == 0
    assert not (own.folder / "data/classification/mine.jpg").exists()
    assert (own.folder / "data/classification/sources.csv").exists()
    assert own.run("dvc", "status", "data.dvc").stdout.strip() == "Data and pipelines are up to date."
    own.run("git", "checkout", "--quiet", "data.dvc")
    own.run("dvc", "checkout", "--quiet")
    assert (own.folder / "data/classification/mine.jpg").read_text() == "mine"


def test_photos_that_dvc_has_not_stay(own: Project, root: Path) -> None:
    assert bring(own, root) != 0
    assert (own.folder / "data/classification/mine.jpg").read_text() == "mine"


def test_the_sample_is_made_once(own: Project, root: Path) -> None:
    own.run("rm", "-r", "data")
    assert bring(own, root) == 0
    made = (own.folder / "data/classification/sources.csv").stat().st_mtime_ns
    assert bring(own, root) == 0
    assert (own.folder / "data/classification/sources.csv").stat().st_mtime_ns == made
