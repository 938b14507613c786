"""prepare names everything that it leaves out or changes, and stops only where work cannot go on."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vit_atlas.data.verify as verify
from tests.tiny_settings import tiny, tiny_settings
from vit_atlas.data.candidates import Candidate
from vit_atlas.data.duplicates import find_duplicates
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.data.prepare import prepare, write_prepared
from vit_atlas.data.summary import summarise
from vit_atlas.data.verify import inspect_all
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import read_json
from vit_atlas.io.summary import write_summary
from vit_atlas.paths import CLASS_COUNTS, PREPARE_METRICS, PREPARED, REJECTED
from vit_atlas.settings import DataSettings

SETTINGS = tiny(DataSettings, max_pixels=10_000)


def rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(frame.itertuples(index=False, name=None))


def test_dirty_files_are_converted_or_left_out_by_name_and_reason(two_classes: Path, draw: Callable[..., Path]) -> None:
    cut = draw("cat/cut.jpg", (90, 90))
    cut.write_bytes(cut.read_bytes()[:-900])
    (two_classes / "cat" / "empty.jpg").write_bytes(b"")
    (two_classes / "dog" / "notes.txt").write_text("these are dogs")
    draw("dog/big.jpg", (200, 100))
    draw("cat/print.jpg").unlink()
    Image.new("CMYK", (40, 30), (0, 200, 200, 10)).save(two_classes / "cat" / "print.jpg")
    Image.new("RGB", (40, 30), "green").save(two_classes / "dog" / "liar.jpg", format="PNG")
    Image.new("RGB", (8, 8), "red").save(
        two_classes / "dog" / "moving.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]
    )
    prepared = prepare(two_classes, SETTINGS)
    metrics = prepared.metrics
    assert rows(prepared.findings.rejected) == [
        ("cat/cut.jpg", "truncated", "the file is cut short (truncated)"),
        ("cat/empty.jpg", "empty", "the file is empty (zero bytes)"),
        ("dog/big.jpg", "too-many-pixels", "200x100 pixels, more than data.max_pixels (10000)"),
        ("dog/moving.gif", "several-frames", "a GIF of 2 frames, not one photo"),
        (
            "dog/notes.txt",
            "not-an-image",
            "not an image that can be read here (JPEG, PNG, WebP, BMP, TIFF, PPM, AVIF, HEIC, still GIF)",
        ),
    ]
    kinds = ("empty", "not-an-image", "several-frames", "too-many-pixels", "truncated")
    assert metrics["rejected"] == dict.fromkeys(kinds, 1)
    assert metrics["conversions"] == {"cmyk": 1, "png-named-jpg": 1}
    assert (metrics["photos"], metrics["rejected_count"], metrics["converted_count"]) == (22, 5, 2)
    listed = dict(zip(prepared.manifest.frame["image_id"], prepared.manifest.frame["conversions"], strict=True))
    assert {file: kinds for file, kinds in listed.items() if kinds} == {
        "cat/print.jpg": "cmyk",
        "dog/liar.jpg": "png-named-jpg",
    }
    assert "cat/cut.jpg" not in listed


def test_one_photo_in_two_splits_is_flagged_by_name(photos: Path, draw: Callable[..., Path]) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            draw(f"{split}/{name}/1.jpg")
    shutil.copyfile(photos / "train/a/1.jpg", photos / "test/a/copy.jpg")
    original = (photos / "val/b/1.jpg").read_bytes()
    (photos / "train/a/comment.jpg").write_bytes(original[:2] + b"\xff\xfe\x00\x06abcd" + original[2:])
    draw("train/a/alone.jpg")
    prepared = prepare(photos, SETTINGS)
    metrics = prepared.metrics
    assert rows(prepared.findings.duplicates) == [
        (0, "copy", 0, "test/a/copy.jpg", "test", "a"),
        (0, "copy", 0, "train/a/1.jpg", "train", "a"),
        (1, "copy", 0, "train/a/comment.jpg", "train", "a"),
        (1, "copy", 0, "val/b/1.jpg", "val", "b"),
    ]
    assert (metrics["duplicate_groups"], metrics["duplicates_across_splits"]) == (2, 2)
    assert metrics["duplicates_across_classes"] == 1


def test_pictures_that_only_look_alike_at_small_scale_are_no_duplicates(photos: Path) -> None:
    """A checkerboard of single pixels and its negative have the same mean in every block."""
    board = (np.indices((320, 320)).sum(0) % 2 * 40 + 100).astype(np.uint8)
    for number, values in enumerate((board, 240 - board)):
        Image.fromarray(values.astype(np.uint8)).convert("RGB").save(photos / f"{number}.jpg", quality=100)
    candidates = tuple(Candidate(photos / f"{number}.jpg", f"{number}.jpg", "a") for number in (0, 1))
    inspections = inspect_all(candidates, 10**6)
    assert not any(item.reason for item in inspections)
    assert find_duplicates(inspections, 8) == []


def test_guessed_depths_are_a_warning(two_classes: Path) -> None:
    for name, highest in (("cat/dark", 900), ("cat/bright", 4095), ("dog/bright", 4000)):
        Image.fromarray(np.linspace(0, highest, 1200).reshape(30, 40).astype(np.uint16)).save(
            two_classes / f"{name}.png"
        )
    (warning,) = prepare(two_classes, SETTINGS).metrics["warnings"]
    assert "scaled by their highest value (1 as 10-bit, 2 as 12-bit): if that is wrong" in warning


def test_masks_of_another_size_or_without_object_are_dropped_and_named(two_classes: Path) -> None:
    masks = two_classes / "masks"
    for name, size, value in (("cat/0", (40, 30), 255), ("cat/1", (30, 40), 255), ("dog/2", (40, 30), 0)):
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        mask = Image.new("L", size, 0)
        mask.paste(value, (5, 5, 20, 15))
        mask.save(masks / f"{name}.png")
    Image.new("L", (40, 30), 255).save(masks / "dog" / "1.png")
    (masks / "dog" / "3.png").write_bytes(b"no image")
    prepared = prepare(two_classes, SETTINGS)
    frame = prepared.manifest.frame.set_index("image_id")
    assert frame.loc["cat/0.jpg", ["mask", "mask_kind"]].tolist() == [(masks / "cat/0.png").as_posix(), "binary"]
    assert (frame["mask"] != "").sum() == prepared.metrics["masks"] == 1
    (warning,) = prepared.metrics["warnings"]
    assert warning.startswith("no photo has a mask in 1 of 2 classes (`dog`): where the model looks")
    dropped = dict(rows(prepared.findings.masks_dropped))
    assert dropped["cat/1.jpg"].endswith(
        "it has 30x40 pixels, the photo 40x30: if it was drawn on the photo as stored, turn it as EXIF turns the photo"
    )
    assert dropped["dog/1.jpg"] == "the mask marks the whole photo"
    assert dropped["dog/2.jpg"] == "the mask marks no object"
    assert "not an image" in dropped["dog/3.jpg"]
    assert prepared.metrics["masks_dropped_count"] == 4


def test_masks_of_no_photo_are_a_warning(two_classes: Path) -> None:
    (two_classes / "masks").mkdir()
    Image.new("L", (40, 30), 255).save(two_classes / "masks" / "elsewhere.png")
    assert prepare(two_classes, SETTINGS).metrics["warnings"] == [
        "masks that belong to no photo: 1, masks/elsewhere.png first; expected the names of photos, such as "
        "masks/cat/0.png"
    ]


def test_names_that_are_no_utf8_and_dangling_links_are_left_out(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(two_classes / "cat/0.jpg", os.fsencode(two_classes / "cat") + b"/\xff.jpg")
    (two_classes / "cat" / "gone.jpg").symlink_to(two_classes / "nothing.jpg")
    monkeypatch.chdir(tmp_path)
    prepared = prepare(two_classes, SETTINGS)
    assert rows(prepared.findings.rejected) == [
        ("cat/\\udcff.jpg", "name-not-utf8", "its name is not valid UTF-8: rename it"),
        ("cat/gone.jpg", "missing", "no such file"),
    ]
    write_prepared(prepared)
    assert len(Manifest.read()) == 20


def test_a_class_with_one_photo_is_named(two_classes: Path, draw: Callable[..., Path]) -> None:
    draw("emu/only.jpg")
    with pytest.raises(AtlasError, match=r"photos cannot be used: class `emu` has one photo only \(emu/only\.jpg\)"):
        prepare(two_classes, SETTINGS)


def test_a_class_whose_photos_are_all_broken_is_named_with_the_reason(two_classes: Path) -> None:
    (two_classes / "emu").mkdir()
    (two_classes / "emu" / "1.jpg").write_bytes(b"")
    with pytest.raises(AtlasError, match=r"class `emu` .* no usable photo \(emu/1\.jpg: the file is empty"):
        prepare(two_classes, SETTINGS)


def test_everything_that_is_wrong_is_told_at_once(split_folder: Path, draw: Callable[..., Path]) -> None:
    shutil.rmtree(split_folder / "train" / "b")
    for path in (split_folder / "val").rglob("*.jpg"):
        path.write_bytes(b"")
    for name in ("c", "d"):
        (split_folder / "train" / name).mkdir()
    with pytest.raises(AtlasError) as caught:
        prepare(split_folder, SETTINGS)
    assert str(caught.value) == (
        f"{split_folder} cannot be used: 2 classes have no usable photo: `c`, `d` (none of its photos is there): add "
        "photos or remove the class; the val split has no usable photo: add photos or remove its folder; no usable "
        "training photo of class `b`, which other splits hold: add some, or remove the class"
    )


def test_single_photo_classes_are_counted(two_classes: Path, draw: Callable[..., Path]) -> None:
    for number in range(10):
        draw(f"emu{number}/only.jpg")
    with pytest.raises(
        AtlasError, match=r"10 classes have one photo only: `emu0`, .* and 2 more \(emu0/only.jpg, ...\)"
    ):
        prepare(two_classes, SETTINGS)


def test_an_empty_class_folder_is_named(two_classes: Path) -> None:
    (two_classes / "emu").mkdir()
    with pytest.raises(AtlasError, match=r"class `emu` .* no usable photo"):
        prepare(two_classes, SETTINGS)


def test_one_class_alone_is_told(photos: Path, draw: Callable[..., Path]) -> None:
    draw("cat/1.jpg")
    draw("cat/2.jpg")
    with pytest.raises(AtlasError, match="one class only, `cat`"):
        prepare(photos, SETTINGS)


@pytest.fixture
def split_folder(photos: Path, draw: Callable[..., Path]) -> Path:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            for number in range(3):
                draw(f"{split}/{name}/{number}.jpg")
    return photos


def test_a_class_without_training_photos_stops(split_folder: Path) -> None:
    shutil.rmtree(split_folder / "train" / "b")
    with pytest.raises(AtlasError, match="no usable training photo of class `b`"):
        prepare(split_folder, SETTINGS)


def test_a_class_missing_from_the_test_is_a_warning(split_folder: Path) -> None:
    shutil.rmtree(split_folder / "test" / "b")
    assert prepare(split_folder, SETTINGS).metrics["warnings"] == ["the test split has no photo of `b`"]


def test_a_split_whose_photos_are_all_broken_stops(split_folder: Path) -> None:
    for path in (split_folder / "val").rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(AtlasError, match=r"the val split has no usable photo: add"):
        prepare(split_folder, SETTINGS)


def test_a_test_split_alone_has_nothing_to_train_on(split_folder: Path) -> None:
    shutil.rmtree(split_folder / "train")
    shutil.rmtree(split_folder / "val")
    with pytest.raises(AtlasError, match="no photo to train on: add a train/ folder beside `test`"):
        prepare(split_folder, SETTINGS)


def test_a_fraction_of_zero_that_empties_a_split_is_named(two_classes: Path) -> None:
    with pytest.raises(AtlasError, match=r"the test split is empty with data\.test_fraction: 0\.0"):
        prepare(two_classes, tiny(DataSettings, test_fraction=0.0))


def test_the_homework_tests_on_its_val_photos(photos: Path, draw: Callable[..., Path]) -> None:
    for label in (26, 3):
        for number in range(6):
            draw(f"train/{label}_{number}.jpg")
        draw(f"val/{label}_99.jpg")
    prepared = prepare(photos, SETTINGS)
    frame = prepared.manifest.frame
    assert prepared.classes == ["3", "26"]
    assert set(frame.loc[frame["split"] == "test", "image_id"]) == {"val/26_99.jpg", "val/3_99.jpg"}
    assert (prepared.metrics["train"], prepared.metrics["val"], prepared.metrics["test"]) == (10, 2, 2)


def test_the_stages_write_the_contract(two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(two_classes, "data/classification")
    Path("data/classification/cat/empty.jpg").touch()
    write_prepared(prepare(Path("data/classification"), SETTINGS))
    frame = Manifest.read().frame
    assert read_classes() == ["cat", "dog"]
    tables = ["duplicates.csv", "manifest.csv", "masks.csv", "masks_dropped.csv", "rejected.csv"]
    assert sorted(path.name for path in PREPARED.iterdir()) == ["classes.json", *tables, "summary.json", "together.csv"]
    assert REJECTED.read_text() == "file,kind,reason\ncat/empty.jpg,empty,the file is empty (zero bytes)\n"
    first = frame.set_index("image_id").loc["cat/0.jpg"]
    assert first["path"] == "data/classification/cat/0.jpg"
    assert (first["label"], first["width"], first["height"], len(first["sha256"])) == (0, 40, 30, 64)
    write_summary(summarise(tiny_settings()))
    assert read_json(PREPARE_METRICS)["layout"] == "image-folder"
    counts = CLASS_COUNTS.read_text().splitlines()
    assert counts[0] == "class_name,split,photos"
    assert "dog,test,2" in counts


def test_many_workers_find_what_one_finds(two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (two_classes / "cat" / "empty.jpg").write_bytes(b"")
    alone = prepare(two_classes, SETTINGS)
    monkeypatch.setattr(verify, "SMALL_JOB", 5)
    monkeypatch.setattr(verify, "_cores", lambda: 2)
    together = prepare(two_classes, SETTINGS)
    assert together.metrics == alone.metrics
    assert together.manifest.frame.equals(alone.manifest.frame)
    assert together.findings.rejected.equals(alone.findings.rejected)


def photo_of(name: str, path: Path, size: tuple[int, int] = (320, 240), **options: Any) -> None:
    """A photo with enough structure to be known again, however it is saved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.frombytes("RGB", (24, 18), random.Random(name).randbytes(24 * 18 * 3))
    coarse.resize((320, 240), Image.Resampling.BICUBIC).resize(size).save(path, **options)


def test_near_duplicates_and_copies_stay_in_one_split(photos: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(20):
            photo_of(f"{name}{number}", photos / name / f"{number}.jpg", quality=90)
            photo_of(f"{name}{number}", photos / name / f"{number} small.jpg", quality=60, size=(160, 120))
            photo_of(f"{name}{number}", photos / name / f"{number}.png")
            shutil.copyfile(photos / name / f"{number}.png", photos / name / f"{number} copy.png")
    prepared = prepare(photos, tiny(DataSettings))
    metrics, table = prepared.metrics, prepared.findings.duplicates
    assert (metrics["duplicate_groups"], metrics["near_duplicate_groups"]) == (40, 40)
    assert (metrics["duplicates_across_splits"], metrics["near_duplicates_across_splits"]) == (0, 0)
    assert (metrics["train"], metrics["val"], metrics["test"]) == (112, 16, 32)
    assert (
        table.groupby("group")["file"]
        .agg(lambda files: len({name.split(" ")[0].split(".")[0] for name in files}))
        .max()
        == 1
    )
    assert table.loc[table["kind"] == "near", "distance"].between(0, 6).all()
    unlike = prepare(photos, tiny(DataSettings, near_duplicate_distance=None))
    assert (unlike.metrics["duplicate_groups"], unlike.metrics["near_duplicate_groups"]) == (40, 0)


def test_near_duplicates_across_given_splits_are_told(photos: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            photo_of(f"{split}{name}", photos / split / name / "1.jpg")
    photo_of("traina", photos / "test" / "a" / "2.jpg", quality=50)
    prepared = prepare(photos, tiny(DataSettings))
    assert [row[:1] + row[3:] for row in rows(prepared.findings.duplicates)] == [
        (0, "test/a/2.jpg", "test", "a"),
        (0, "train/a/1.jpg", "train", "a"),
    ]
    assert prepared.metrics["near_duplicates_across_splits"] == 1
    assert prepared.metrics["warnings"] == [
        "1 groups of near-duplicates lie in several splits: test/a/2.jpg, train/a/1.jpg first, all in duplicates.csv"
    ]


def test_groups_by_pattern_or_table_are_never_torn(two_classes: Path) -> None:
    pattern = tiny(DataSettings, group_pattern=r"/(\d)", val_fraction=0.3)
    groups: dict[str, set[str]] = {}
    for photo in prepare(two_classes, pattern).manifest:
        groups.setdefault(Path(photo.image_id).stem, set()).add(photo.split)
    assert [len(splits) for splits in groups.values()] == [1] * 10  # cat/3 and dog/3 are one group
    lines = [f"{name}/{number}.jpg,{name},g{number}" for name in ("cat", "dog") for number in range(10)]
    (two_classes / "labels.csv").write_text("\n".join(["path,label,group", *lines]))
    by_table = prepare(two_classes, tiny(DataSettings, val_fraction=0.3))
    assert by_table.metrics["groups"] == 10
    assert by_table.manifest.frame["split"].tolist() == prepare(two_classes, pattern).manifest.frame["split"].tolist()


def test_a_pattern_that_fits_nothing_is_one_sentence(two_classes: Path) -> None:
    with pytest.raises(
        AtlasError, match=r"data\.group_pattern in params\.yaml .* fits none of the 20 photos .*cat/0\.jpg"
    ):
        prepare(two_classes, tiny(DataSettings, group_pattern=r"patient_(\d+)"))


def test_groups_across_given_splits_are_told(split_folder: Path) -> None:
    settings = tiny(DataSettings, group_pattern=r"(\d)\.jpg")
    assert prepare(split_folder, settings).metrics["warnings"] == [
        "3 groups lie in several of the folder's own splits: `0`, `1`, `2`"
    ]


@pytest.mark.real_data
def test_pets_mini(real_data: Path) -> None:
    prepared = prepare(real_data / "pets-mini", tiny(DataSettings))
    metrics = prepared.metrics
    assert (metrics["layout"], metrics["classes"], metrics["photos"], metrics["test"]) == ("oxford-pets", 37, 1027, 148)
    converted = prepared.manifest.frame[prepared.manifest.frame["conversions"] != ""]
    assert rows(converted[["image_id", "conversions"]]) == [("images/Abyssinian_5.jpg", "alpha;png-named-jpg")]
    assert metrics["rejected"] == {"not-listed": 2}
    assert prepared.findings.rejected["reason"].str.startswith("in no list").all()
    assert (metrics["masks_dropped_count"], metrics["duplicate_groups"], metrics["near_duplicate_groups"]) == (0, 0, 6)
