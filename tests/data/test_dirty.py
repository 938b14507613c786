"""Among hundreds of files every broken one is named, and a second run decodes what is new or has changed, no more."""

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import vit_atlas.data.remembered as remembered
from tests.data.broken_files import BROKEN, CONVERTED, MAX_PIXELS, black_png, chunk, jpeg, place_broken
from tests.tiny_settings import tiny
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.photos import LARGEST_PHOTO, opened
from vit_atlas.data.pixels import PhotoError
from vit_atlas.data.prepare import Prepared, prepare, summary, write_prepared
from vit_atlas.errors import AtlasError
from vit_atlas.paths import PREPARED
from vit_atlas.settings import DataSettings

SETTINGS = tiny(DataSettings, max_pixels=MAX_PIXELS)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """180 sound photos in three classes; with 30 broken ones it is a job for several processes."""
    for name in ("ant", "bee", "cow"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(60):
            (tmp_path / "photos" / name / f"{number}.jpg").write_bytes(jpeg((30, 20)))
    return tmp_path / "photos"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def same(first: Prepared, second: Prepared) -> bool:
    """Whether two runs say the same, however much of it they remembered."""
    found = [
        (item.findings.rejected, item.findings.masks_dropped, item.findings.duplicates) for item in (first, second)
    ]
    tables = [(first.manifest.frame, second.manifest.frame), *zip(*found, strict=True)]
    return all(one.equals(other) for one, other in tables) and first.metrics == second.metrics


def test_fifteen_of_fifteen_kinds_are_named_with_their_reason(many: Path) -> None:
    expected = {f"bee/{name}": kind for name, kind in place_broken(many / "bee", copies=2).items()}
    prepared = prepare(many, SETTINGS)
    rejected = prepared.findings.rejected.set_index("file")
    assert len(BROKEN) == 15
    assert rejected["kind"].to_dict() == expected
    assert rejected["reason"].str.len().min() > 5
    assert prepared.metrics["photos"] == 180
    assert sum(prepared.metrics["rejected"].values()) == prepared.metrics["rejected_count"] == 30
    assert summary(prepared)[0].startswith("30 files left out (4 damaged, 2 empty, 2 file-too-large, ")


def test_what_can_be_converted_is_and_is_told(many: Path) -> None:
    for number, odd in enumerate(CONVERTED.values()):
        odd.make(many / "cow" / f"odd_{number}{odd.suffix}")
    manifest = prepare(many, SETTINGS).manifest.frame.set_index("image_id")
    for number, odd in enumerate(CONVERTED.values()):
        assert odd.word in manifest.loc[f"cow/odd_{number}{odd.suffix}", "conversions"].split(";")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_and_a_folder_that_may_not_be_read_are_named(many: Path, cache: Path) -> None:
    closed = many / "bee" / "7.jpg"
    closed.chmod(0)
    prepared = prepare(many, SETTINGS, cache)
    assert prepared.findings.rejected["file"].tolist() == ["bee/7.jpg"]
    assert "Permission denied" in prepared.findings.rejected["reason"][0]
    closed.chmod(0o644)
    again = prepare(many, SETTINGS, cache)
    assert (again.decoded, again.metrics["rejected_count"]) == (1, 0)
    (many / "bee").chmod(0)
    try:
        with pytest.raises(AtlasError, match=r"cannot be listed \(Permission denied: .*bee"):
            find_layout(many)
    finally:
        (many / "bee").chmod(0o755)


def test_a_second_run_decodes_only_what_is_new(many: Path, cache: Path) -> None:
    place_broken(many / "bee", copies=1)
    first = prepare(many, SETTINGS, cache)
    unread = 4  # a folder, a link to a deleted file and one to itself, a name that is no text
    assert (first.decoded, first.remembered) == (195 - unread, 0)
    second = prepare(many, SETTINGS, cache)
    assert (second.decoded, second.remembered) == (0, 195 - unread)
    assert same(first, second)
    for number in range(10):
        (many / "ant" / f"new_{number}.jpg").write_bytes(jpeg((30, 20)))
    third = prepare(many, SETTINGS, cache)
    assert (third.decoded, third.remembered) == (10, 195 - unread)
    assert summary(third)[0] == "10 files decoded, 191 known from earlier runs"
    assert same(third, prepare(many, SETTINGS))


def test_an_edited_photo_is_decoded_again_even_with_its_old_size_and_time(many: Path, cache: Path) -> None:
    path = many / "cow" / "5.jpg"
    before = prepare(many, SETTINGS, cache).manifest.frame.set_index("image_id")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=times)
    after = prepare(many, SETTINGS, cache)
    assert after.decoded == 1
    assert after.manifest.frame.set_index("image_id").loc["cow/5.jpg", "sha256"] != before.loc["cow/5.jpg", "sha256"]
    assert same(after, prepare(many, SETTINGS))


def test_a_changed_mask_is_looked_at_again(many: Path, cache: Path) -> None:
    mask = many / "masks" / "ant" / "1.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(np.eye(20, 30, dtype=np.uint8)).save(mask)
    assert prepare(many, SETTINGS, cache).metrics["masks"] == 1
    Image.new("L", (30, 20), 0).save(mask)
    changed = prepare(many, SETTINGS, cache)
    assert (changed.decoded, changed.metrics["masks"], changed.metrics["masks_dropped_count"]) == (1, 0, 1)
    mask.unlink()
    assert prepare(many, SETTINGS, cache).metrics["masks_dropped_count"] == 0


def test_other_settings_remember_nothing_and_files_that_are_gone_are_forgotten(many: Path, cache: Path) -> None:
    prepare(many, SETTINGS, cache)
    assert prepare(many, tiny(DataSettings, max_pixels=700), cache).decoded == 180
    (only,) = cache.iterdir()
    shutil.rmtree(many / "cow")
    assert prepare(many, tiny(DataSettings, max_pixels=700), cache).decoded == 0
    with sqlite3.connect(only) as database:
        assert database.execute("SELECT count(*) FROM inspections").fetchone() == (120,)


@pytest.mark.parametrize("damage", [b"no database", b""])
def test_a_damaged_memory_is_thrown_away(many: Path, cache: Path, damage: bytes) -> None:
    first = prepare(many, SETTINGS, cache)
    (only,) = cache.iterdir()
    only.write_bytes(damage)
    again = prepare(many, SETTINGS, cache)
    assert again.decoded == 180
    assert same(first, again)
    assert prepare(many, SETTINGS, cache).decoded == 0


def test_rows_that_make_no_sense_are_not_believed(many: Path, cache: Path) -> None:
    prepare(many, SETTINGS, cache)
    (only,) = cache.iterdir()
    with sqlite3.connect(only) as database:
        database.execute("UPDATE inspections SET found = '[1, 2]'")
    assert prepare(many, SETTINGS, cache).decoded == 180


def test_a_run_that_is_killed_keeps_what_it_had_written(
    many: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = remembered.Remembered.keep
    kept = []

    def keep(self: remembered.Remembered, state: str, item: remembered.Inspection) -> None:
        kept.append(item)
        if len(kept) == 120:
            self._waiting.clear()  # so that no more is written, as after SIGKILL
            raise KeyboardInterrupt
        real(self, state, item)

    with monkeypatch.context() as patch:
        patch.setattr(remembered, "BATCH", 50)
        patch.setattr(remembered.Remembered, "keep", keep)
        with pytest.raises(KeyboardInterrupt):
            prepare(many, SETTINGS, cache)
    assert prepare(many, SETTINGS, cache).decoded == 80


def test_a_memory_that_cannot_be_written_costs_nothing_but_time(many: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert prepare(many, SETTINGS, cache).decoded == 180
    assert prepare(many, SETTINGS, cache).decoded == 180


def test_the_written_outs_are_the_same_bytes_with_and_without_memory(
    many: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_broken(many / "bee", copies=1)
    written = []
    for name, folder in (("without", None), ("first", cache), ("second", cache)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        write_prepared(prepare(many, SETTINGS, folder))
        written.append({path.name: path.read_bytes() for path in PREPARED.iterdir()})
    assert written[0] == written[1] == written[2]


def test_a_bomb_is_refused_by_its_header_as_a_photo_and_as_a_mask(many: Path) -> None:
    bomb = black_png(20_000, 20_000)
    assert len(bomb) < 500_000
    (many / "masks" / "ant").mkdir(parents=True)
    (many / "masks" / "ant" / "3.png").write_bytes(bomb)
    (many / "ant" / "bomb.png").write_bytes(bomb)
    prepared = prepare(many, SETTINGS)
    assert prepared.findings.rejected["reason"].tolist() == ["20000x20000 pixels, more than data.max_pixels (1000000)"]
    assert "it has 20000x20000 pixels, the photo 30x20" in prepared.findings.masks_dropped["reason"][0]


def test_no_stage_opens_what_would_fill_the_memory(tmp_path: Path) -> None:
    whole = black_png(64, 64)
    header = whole[12:16] + (50_000).to_bytes(4, "big") * 2 + whole[24:29]
    (tmp_path / "bomb.png").write_bytes(whole[:8] + chunk(header[:4], header[4:]) + whole[33:])
    with pytest.raises(PhotoError, match="50000x50000 pixels"), opened(tmp_path / "bomb.png"):
        pass
    assert tiny(DataSettings, max_pixels=LARGEST_PHOTO).max_pixels == LARGEST_PHOTO
    with pytest.raises(ValidationError):
        tiny(DataSettings, max_pixels=LARGEST_PHOTO + 1)
