"""The classification sample: one cut-out a photo, in `<split>/<class>/` folders, with a mask for each."""

import csv
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from vit_atlas.data.stickers.backgrounds import random_background
from vit_atlas.data.stickers.catalogue import Stamp
from vit_atlas.data.stickers.compose import (
    LARGEST_ZOOM,
    Placement,
    occlude,
    open_cutout,
    paste,
    random_size,
    relit,
)

PHOTOS_PER_CLASS = {"train": 50, "val": 10, "test": 20}

SOURCES = "sources.csv"
"""Table in the sample's folder that names the cut-out behind every photo; it also marks the folder as ours to
replace."""

UPRIGHT = ("sign", "house")
"""Classes that are turned little and never mirrored: they carry writing or stand on the ground."""


@dataclass(frozen=True)
class Photo:
    """One photo to make: ``split/class/stem``, and the cut-out on it."""

    split: str
    category: str
    stem: str
    stamp: Stamp


def plan_photos(table: tuple[Stamp, ...], counts: dict[str, int] | None = None) -> list[Photo]:
    """All photos of the sample, the same number a class in each split, cut-outs taken in turn within their split."""
    groups: dict[tuple[str, str], list[Stamp]] = defaultdict(list)
    for stamp in table:
        if stamp.category:
            groups[stamp.category, stamp.use].append(stamp)
    plan = []
    for category in sorted({category for category, _ in groups}):
        number = 0
        for split, count in (counts or PHOTOS_PER_CLASS).items():
            choice = groups[category, split]
            for index in range(count):
                number += 1
                plan.append(Photo(split, category, f"{category}_{number:03d}", choice[index % len(choice)]))
    return plan


def make_photo(photo: Photo, stamps_folder: Path, seed: int) -> tuple[Image.Image, Image.Image]:
    """The RGB photo and its mask (L, 255 object), both a function of the seed and the photo's name alone."""
    rng = random.Random(f"{seed}:classification:{photo.stem}")
    size = random_size(rng)
    canvas = random_background(rng, size)
    cutout = open_cutout(stamps_folder / photo.stamp.path)
    mask = paste(canvas, cutout, _placement(rng, size, cutout, photo.category in UPRIGHT))
    if rng.random() < 0.1:
        canvas, mask = occlude(rng, canvas, mask)
    return relit(rng, canvas), mask


def write_classification(
    folder: Path, stamps_folder: Path, table: tuple[Stamp, ...], seed: int, counts: dict[str, int] | None = None
) -> int:
    """Write the sample into the empty ``folder``; return the number of photos."""
    plan = plan_photos(table, counts)
    rows = []
    for photo in tqdm(plan, desc="classification photos", unit="photo"):
        image, mask = make_photo(photo, stamps_folder, seed)
        place = Path(photo.split) / photo.category / photo.stem
        image_path, mask_path = folder / place.with_suffix(".jpg"), folder / "masks" / place.with_suffix(".png")
        image_path.parent.mkdir(parents=True, exist_ok=True)
        mask_path.parent.mkdir(parents=True, exist_ok=True)
        image.save(image_path, quality=90)
        mask.convert("1").save(mask_path)
        rows.append((place.with_suffix(".jpg").as_posix(), photo.stamp.path))
    with (folder / SOURCES).open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("image", "stamp"))
        writer.writerows(rows)
    return len(plan)


def _placement(rng: random.Random, size: tuple[int, int], cutout: Image.Image, upright: bool) -> Placement:
    """A size of 78 to 110 % of the canvas's shorter side, any place where most of the object stays inside."""
    shorter = min(size)
    side = min(shorter * rng.randint(78, 110) // 100, max(cutout.size) * LARGEST_ZOOM)
    degrees = rng.randint(-10, 10) if upright else rng.randint(-20, 20)
    mirrored = not upright and rng.random() < 0.5
    margin = side // 2
    centre = tuple(rng.randint(min(margin, length // 2), max(length - margin, length // 2)) for length in size)
    return Placement(side, degrees, mirrored, (centre[0], centre[1]))
