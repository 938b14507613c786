"""Thumbnails and outlines of masks."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from vit_atlas.page_data.thumbnails import LONGEST, UNITS, outline, save_thumbnail


def points(path: str) -> np.ndarray:
    return np.array(re.findall(r"(\d+) (\d+)", path), dtype=float)


def test_the_outline_of_a_box_is_the_box() -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[20:60, 50:150] = 1
    path = outline(mask)
    assert path.startswith("M")
    assert path.endswith("Z")
    found = points(path)
    assert np.abs(found.min(axis=0) - [250, 200]).max() <= 5
    assert np.abs(found.max(axis=0) - [750, 600]).max() <= 5
    assert len(found) < 60


def test_objects_at_the_edge_and_specks() -> None:
    mask = np.zeros((400, 300), np.uint8)
    mask[:, :150] = 1
    mask[200, 299] = 1
    found = outline(mask)
    assert found.count("M") == 1
    assert points(found).max() <= UNITS
    assert points(found)[:, 1].min() == 0


def test_no_object_has_no_outline() -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[10:20, 10:20] = 255
    assert outline(mask) == ""


def test_thumbnails_are_small_jpegs(tmp_path: Path) -> None:
    save_thumbnail(Image.new("RGB", (900, 300), (200, 10, 10)), tmp_path / "photos" / "a.jpg")
    with Image.open(tmp_path / "photos" / "a.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (LONGEST, 149))
