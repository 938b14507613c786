"""A project after its first `dvc repro`, and copies of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forking import forking_python
from tests.project import Project, make_project


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a `python` that starts stages without importing the libraries again."""
    with forking_python(Project(tmp_path_factory.mktemp("python")).environment()) as folder:
        yield folder


@pytest.fixture(scope="session")
def finished(root: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[str]]:
    """A project after its first `dvc repro`, committed, and the stages that ran. Tests change copies of it."""
    project = make_project(root, tmp_path_factory.mktemp("pipeline") / "finished", python)
    stages = project.repro()
    project.commit("first result")
    return project, stages


@pytest.fixture
def project(finished: tuple[Project, list[str]], tmp_path: Path) -> Project:
    """A copy of the finished project, to change at will."""
    shutil.copytree(finished[0].folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project", finished[0].python)
