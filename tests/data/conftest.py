"""Small folders of photos, clean and dirty, drawn from a seed."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Draw = Callable[..., Path]


def picture(name: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """An RGB picture that depends on ``name`` alone: coarse random colours."""
    rng = random.Random(name)
    small = Image.frombytes("RGB", (5, 4), rng.randbytes(60))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Write a JPEG at a path below tmp_path/photos and return where it is; ``like`` names the picture on it."""

    def write(place: str, size: tuple[int, int] = (40, 30), like: str | None = None) -> Path:
        path = tmp_path / "photos" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(like or place, size).save(path, format="JPEG", quality=92)
        return path

    return write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The folder that ``draw`` writes to."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def two_classes(photos: Path, draw: Draw) -> Path:
    """An image folder without splits: ten cats and ten dogs."""
    for name in ("cat", "dog"):
        for number in range(10):
            draw(f"{name}/{number}.jpg")
    return photos
