"""A folder to make a result in."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, the working directory, outside git."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
