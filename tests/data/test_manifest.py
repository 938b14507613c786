"""The manifest reads back as it was written, and says what to do where it is missing."""

import hashlib
from dataclasses import astuple
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from vit_atlas.data.manifest import COLUMNS, Manifest, Photo, read_classes
from vit_atlas.errors import AtlasError

PLAIN = ("NA/1.jpg", "data/NA/1.jpg", "train", 3, "NA", 40, 30, "", "", "00", "", "")
MASKED = ("NA/2.jpg", "data/NA/2.jpg", "test", 3, "NA", 40, 30, "data/masks/2.png", "binary", "01", "gif", "ff")


def test_text_stays_text_and_empty_stays_empty(tmp_path: Path) -> None:
    rows = pd.DataFrame([PLAIN, MASKED], columns=list(COLUMNS))
    Manifest(rows).write(tmp_path / "manifest.csv")
    manifest = Manifest.read(tmp_path / "manifest.csv", masks=True)
    assert [astuple(photo) for photo in manifest] == [PLAIN, MASKED]
    frame = manifest.frame
    assert frame["class_name"].tolist() == ["NA", "NA"]
    assert frame["label"].dtype.kind == "i"


def test_masks_are_apart_so_that_another_one_leaves_the_manifest_as_it_is(tmp_path: Path) -> None:
    Manifest(pd.DataFrame([PLAIN, MASKED], columns=list(COLUMNS))).write(tmp_path / "manifest.csv")
    with_masks = (tmp_path / "manifest.csv").read_bytes()
    bare = (*MASKED[:7], "", "", *MASKED[9:11], "")
    Manifest(pd.DataFrame([PLAIN, bare], columns=list(COLUMNS))).write(tmp_path / "manifest.csv")
    assert (tmp_path / "manifest.csv").read_bytes() == with_masks
    assert [photo.mask for photo in Manifest.read(tmp_path / "manifest.csv", masks=True)] == ["", ""]


@pytest.mark.parametrize("changed", ["photo", "mask"])
def test_a_file_that_prepare_has_not_read_is_not_opened(tmp_path: Path, changed: str) -> None:
    for name, colour in (("photo.png", (200, 10, 10)), ("mask.png", 0)):
        Image.new("RGB" if name == "photo.png" else "L", (40, 30), colour).save(tmp_path / name)
    known = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("photo.png", "mask.png")}
    photo = Photo(
        *("photo.png", str(tmp_path / "photo.png"), "test", 0, "red", 40, 30),
        *(str(tmp_path / "mask.png"), "binary", known["photo.png"], "", known["mask.png"]),
    )
    assert photo.open().size == (40, 30)
    assert photo.open_mask().shape == (30, 40)
    Image.new("L", (40, 30), 7).save(tmp_path / f"{changed}.png")
    with pytest.raises(AtlasError, match=rf"{changed}\.png cannot be read .* has changed since .*`dvc repro` again"):
        photo.open() if changed == "photo" else photo.open_mask()


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n"])
def test_a_missing_or_foreign_manifest_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.csv").write_text(content)
    with pytest.raises(AtlasError, match=r"manifest\.csv .*dvc repro prepare"):
        Manifest.read(tmp_path / "manifest.csv")


@pytest.mark.parametrize("content", [None, "{", '{"a": 1}', "[1, 2]"])
def test_a_missing_or_foreign_class_list_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "classes.json").write_text(content)
    with pytest.raises(AtlasError, match=r"classes\.json .*dvc repro prepare"):
        read_classes(tmp_path / "classes.json")
