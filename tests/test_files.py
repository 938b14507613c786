import json
from pathlib import Path

import pytest

from vit_atlas.errors import AtlasError
from vit_atlas.files import atomic_file, atomic_folder, read_json, require_free_space, write_json


def crash(context: object) -> None:
    with context as temporary:  # type: ignore[attr-defined]
        if temporary.is_dir():
            (temporary / "half").write_text("half")
        else:
            temporary.write_text("half")
        raise RuntimeError("killed in the middle")


def test_failed_file_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        crash(atomic_file(target))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_failed_folder_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError):
        crash(atomic_folder(target))
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_new_folder_replaces_every_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with atomic_folder(target) as temporary:
        (temporary / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_folder_is_there_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with atomic_folder(target) as temporary:
        (temporary / "new").write_text("new")
        assert not target.exists()
    assert (target / "new").read_text() == "new"


def test_json_keeps_key_order_and_rounds(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1 / 3, "a": [1, 2.00000049]})
    assert list(json.loads((tmp_path / "m.json").read_text())) == ["b", "a"]
    assert read_json(tmp_path / "m.json") == {"b": 0.333333, "a": [1, 2.0]}


def test_missing_json_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="dvc repro"):
        read_json(tmp_path / "m.json")


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(AtlasError, match=r"m\.json is not valid JSON"):
        read_json(tmp_path / "m.json")


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"the cache needs .* GB in .*: set fewer views"):
        require_free_space(tmp_path / "not" / "yet", 10**18, "the cache", "set fewer views")
    assert list(tmp_path.iterdir()) == []


def test_enough_space_is_silent(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1, "the cache", "set fewer views")
