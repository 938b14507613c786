"""A folder to make a result in."""

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, the working directory, outside git."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vit_atlas.provenance._git", lambda *arguments: None)
    return tmp_path
