from pathlib import Path

import pytest

from vit_atlas.paths import cache_folder


def test_cache_folder_is_the_variables_or_the_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIT_ATLAS_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("VIT_ATLAS_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "vit-atlas"
