"""The captioning sample: scenes of one or two cut-outs, a true sentence each, and masks of the nouns of val and test.

Test scenes show pairs of nouns that no training scene shows together, and cut-outs that training never shows where a
noun has several; a test scene of one cut-out shows such a cut-out always. Val scenes have their own pairs too.
"""

import csv
import hashlib
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vit_atlas.data.stickers.backgrounds import Size, random_background
from vit_atlas.data.stickers.catalogue import Stamp
from vit_atlas.data.stickers.compose import LARGEST_ZOOM, Placement, open_cutout, paste, relit

SCENES = {"train": 1500, "val": 100, "test": 200}

MASKED_SPLITS = ("val", "test")
"""Masks measure where a captioner looks: on val to choose, on test to report. Training reads none, and DVC looks at
every file of data/ in each `dvc repro`."""

SINGLE_PERCENT = 20
"""Share of scenes with one cut-out, in per cent."""

COLOUR_PERCENT = 70
"""How often a sentence names a colour where the cut-out has a plain one, in per cent."""

BESIDE = ("next to", "to the left of", "to the right of")
STACKED = ("above", "below")

WRITTEN_ON = ("sign", "toolbox", "mailbox", "truck", "bus")
"""Nouns whose cut-outs carry writing, so they are never mirrored."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


@dataclass(frozen=True)
class Thing:
    """One cut-out of a scene and what the sentence calls it, such as "red rose"."""

    stamp: Stamp
    phrase: str


@dataclass(frozen=True)
class Scene:
    """One scene to make: its things in the order of the sentence, and the relation between them (empty for one
    thing)."""

    split: str
    stem: str
    things: tuple[Thing, ...]
    relation: str

    @property
    def caption(self) -> str:
        """The sentence, in lower case and without a full stop."""
        phrases = [with_article(thing.phrase) for thing in self.things]
        return f" {self.relation} ".join(phrases)


class Nouns:
    """The cut-outs of every noun by split, and which pairs of nouns belong to which split."""

    def __init__(self, table: tuple[Stamp, ...], seed: int) -> None:
        self.seed = seed
        self.train: dict[str, list[Stamp]] = defaultdict(list)
        self.unseen: dict[str, list[Stamp]] = defaultdict(list)
        for stamp in table:
            if stamp.noun:
                (self.unseen if stamp.scenes == "test" else self.train)[stamp.noun].append(stamp)
        self.names = sorted({*self.train, *self.unseen})

    def stamps(self, noun: str, split: str) -> list[Stamp]:
        """Cut-outs of ``noun`` for ``split``: in test, those that training never shows, if there are any."""
        return (self.unseen.get(noun) if split == "test" else None) or self.train[noun]

    def pair_split(self, first: str, second: str) -> str:
        """The one split whose scenes may show both nouns: test for a fifth of all pairs, val for a tenth."""
        pair = ":".join(sorted((first, second)))
        bucket = hashlib.sha256(f"{self.seed}:pair:{pair}".encode()).digest()[0] % 10
        return "test" if bucket < 2 else "val" if bucket == 2 else "train"

    def partners(self, noun: str, split: str) -> list[str]:
        """Nouns that may stand beside ``noun`` in ``split``."""
        return [other for other in self.names if other != noun and self.pair_split(noun, other) == split]


def with_article(phrase: str) -> str:
    """``phrase`` with "a" or "an"; by its first letter, which is right for every noun and colour of the table."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def plan_scenes(table: tuple[Stamp, ...], seed: int, counts: dict[str, int] | None = None) -> list[Scene]:
    """All scenes of the sample; every noun comes first in a sentence equally often."""
    nouns = Nouns(table, seed)
    scenes = []
    number = 0
    for split, count in (counts or SCENES).items():
        order = list(nouns.names)
        random.Random(f"{seed}:captioning:order:{split}").shuffle(order)
        for index in range(count):
            number += 1
            stem = f"scene_{number:04d}"
            rng = random.Random(f"{seed}:captioning:plan:{stem}")
            scenes.append(_plan_scene(rng, nouns, split, stem, order[index % len(order)]))
    return scenes


def make_scene(scene: Scene, stamps_folder: Path, seed: int) -> tuple[Image.Image, list[Image.Image]]:
    """The RGB scene and one mask (L, 255 object) for each of its things, in the order of the sentence."""
    rng = random.Random(f"{seed}:captioning:{scene.stem}")
    size = _size(rng, scene.relation)
    canvas = random_background(rng, size)
    masks: list[Image.Image] = []
    for thing, box in zip(scene.things, _boxes(rng, size, scene.relation), strict=True):
        cutout = open_cutout(stamps_folder / thing.stamp.path)
        mask = paste(canvas, cutout, _placement(rng, box, cutout, thing.stamp))
        masks = [_without(earlier, mask) for earlier in masks]
        masks.append(mask)
    return relit(rng, canvas), masks


def write_captioning(
    folder: Path, stamps_folder: Path, table: tuple[Stamp, ...], seed: int, counts: dict[str, int] | None = None
) -> int:
    """Write `images/`, `captions.csv`, and for :data:`MASKED_SPLITS` `masks/` and `objects.jsonl` into the empty
    ``folder``; return the number of scenes."""
    plan = plan_scenes(table, seed, counts)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    captions, objects = [], []
    for scene in tqdm(plan, desc="captioning scenes", unit="scene"):
        image, masks = make_scene(scene, stamps_folder, seed)
        name = f"{scene.stem}.jpg"
        image.save(folder / "images" / name, quality=90)
        captions.append((name, scene.caption, scene.split))
        if scene.split not in MASKED_SPLITS:
            continue
        for thing, mask in zip(scene.things, masks, strict=True):
            place = f"masks/{scene.stem}_{thing.stamp.noun}.png"
            mask.convert("1").save(folder / place)
            objects.append({"image": name, "noun": thing.stamp.noun, "mask": place})
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("image", "caption", "split"))
        writer.writerows(captions)
    with (folder / "objects.jsonl").open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(item) + "\n" for item in objects)
    return len(plan)


def _plan_scene(rng: random.Random, nouns: Nouns, split: str, stem: str, first: str) -> Scene:
    partners = nouns.partners(first, split)
    alone = rng.randrange(100) < SINGLE_PERCENT and (split != "test" or first in nouns.unseen)
    if alone or not partners:
        return Scene(split, stem, (_thing(rng, nouns, first, split),), "")
    second = rng.choice(partners)
    things = (_thing(rng, nouns, first, split), _thing(rng, nouns, second, split))
    return Scene(split, stem, things, rng.choice(BESIDE + STACKED))


def _thing(rng: random.Random, nouns: Nouns, noun: str, split: str) -> Thing:
    stamp = rng.choice(nouns.stamps(noun, split))
    named = stamp.colour and rng.randrange(100) < COLOUR_PERCENT
    return Thing(stamp, f"{stamp.colour} {noun}" if named else noun)


def _size(rng: random.Random, relation: str) -> Size:
    """Around 224 pixels a side; wide for things side by side, high for stacked ones, more often than not."""
    side = rng.choice((224, 240, 256))
    other = side * rng.choice((3, 4)) // 4
    if relation in BESIDE:
        return side, other
    return (other, side) if relation in STACKED else rng.choice(((side, other), (other, side)))


def _boxes(rng: random.Random, size: Size, relation: str) -> list[Box]:
    """One box a thing, in the order of the sentence, placed as the relation says."""
    width, height = size
    if not relation:
        return [(0, 0, width, height)]
    if relation in STACKED:
        cut = height * rng.randint(42, 58) // 100
        boxes = [(0, 0, width, cut), (0, cut, width, height)]
        return boxes if relation == "above" else boxes[::-1]
    cut = width * rng.randint(42, 58) // 100
    boxes = [(0, 0, cut, height), (cut, 0, width, height)]
    swapped = relation == "to the right of" or (relation == "next to" and rng.random() < 0.5)
    return boxes[::-1] if swapped else boxes


def _placement(rng: random.Random, box: Box, cutout: Image.Image, stamp: Stamp) -> Placement:
    """As large as the box allows, or a little smaller, and somewhere in it; a stacked thing stays near the middle."""
    left, top, right, bottom = box
    share = rng.randint(72, 96)
    fit = min((right - left) * 1000 // cutout.width, (bottom - top) * 1000 // cutout.height)
    longest = max(cutout.size)
    side = max(8, min(longest * fit * share // 100_000, longest * LARGEST_ZOOM))
    free = [
        max(0, length - extent * side // longest)
        for length, extent in zip((right - left, bottom - top), cutout.size, strict=True)
    ]
    shift_x, shift_y = (rng.randint(-room // 4, room // 4) for room in free)
    centre = ((left + right) // 2 + shift_x, (top + bottom) // 2 + shift_y)
    mirrored = stamp.noun not in WRITTEN_ON and rng.random() < 0.5
    return Placement(side, rng.randint(-8, 8), mirrored, centre)


def _without(mask: Image.Image, other: Image.Image) -> Image.Image:
    """``mask`` less what a later thing covers."""
    kept = np.where(np.asarray(other) > 0, 0, np.asarray(mask)).astype(np.uint8)
    return Image.fromarray(kept)
