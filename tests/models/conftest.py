"""Fixtures shared by the tests of models."""

from pathlib import Path

import pytest

from tests.tiny_models import FAMILIES, save_pretrained


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Every supported family in turn."""
    return str(request.param)


@pytest.fixture
def pretrained(family: str, tmp_path: Path) -> Path:
    """Folder of a tiny pretrained model of ``family``."""
    return save_pretrained(family, tmp_path / "pretrained")
