"""Train, val and test: what the folder gives, and what the seed adds.

A photo's place depends on the seed, its class and the hash of its bytes, so renaming a photo moves nothing. Photos that
belong together (copies, near-duplicates, groups) move together.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_atlas.errors import AtlasError, some
from vit_atlas.io.tables import Table

SPLITS = ("train", "val", "test")

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing", "holdout"),
}
"""Names, in any case, that mean each split."""

KNOWN_SPLITS = "; ".join(f"{split}: {', '.join(names)}" for split, names in SPLIT_NAMES.items())


@dataclass(frozen=True)
class Member:
    """What a split has to know of a photo: its split in the folder (or empty), its class and the hash of its bytes."""

    split: str
    class_name: str
    sha256: str


@dataclass(frozen=True)
class _Unit:
    """Training photos that move together: their indices, the class that most of them have, and what decides."""

    photos: tuple[int, ...]
    class_name: str
    classes: frozenset[str]
    rank: str


def split_of(name: str) -> str:
    """The split that a name means; empty where it means none."""
    return next((split for split, names in SPLIT_NAMES.items() if name.strip().lower() in names), "")


def check_splits(table: Path, content: Table) -> None:
    """Check the column ``split`` of a table of photos or of captions.

    Raises:
        AtlasError: it has names that mean no split.
    """
    counts = Counter(values.get("split", "") for _, values in content.rows)
    unknown = [name for name in counts if name and not split_of(name)]
    if unknown:
        rows = sum(counts[name] for name in unknown)
        raise AtlasError(
            f"{table}: {rows} rows have splits that are not known ({some(unknown)}): expected {KNOWN_SPLITS}"
        )


def assign_splits(
    members: Sequence[Member],
    val_fraction: float,
    test_fraction: float,
    seed: int,
    together: Sequence[int] | None = None,
) -> list[str]:
    """The final split of each member, in their order.

    - train, val and test given: they stay. ``val`` is for selection, ``test`` for evaluate alone.
    - train and val given (the homework's): val is the test, and ``val_fraction`` of train becomes val.
    - train and test given: ``val_fraction`` of train becomes val.
    - nothing given, or train alone: ``test_fraction`` becomes test, then ``val_fraction`` of the rest val.

    What is taken is stratified: the same share of every class, rounded, at least one photo where that leaves one for
    train. Of photos that belong together, all or none are taken, so that a class of few large groups has another share.

    Args:
        members: the photos.
        val_fraction: share of the training photos.
        test_fraction: share of all photos.
        seed: decides which.
        together: for each photo a number that it shares with those that must stay with it; None: with none but copies.
    """
    given = {member.split for member in members}
    splits = [member.split or "train" for member in members]
    units = together if together is not None else [member.sha256 for member in members]
    if "test" not in given and "val" in given:
        splits = ["test" if split == "val" else split for split in splits]
    elif "test" not in given:
        splits = _take(members, splits, units, "test", test_fraction, seed)
    if "val" not in splits:
        splits = _take(members, splits, units, "val", val_fraction, seed)
    return splits


def _take(
    members: Sequence[Member], splits: list[str], together: Sequence[object], name: str, fraction: float, seed: int
) -> list[str]:
    """Move ``fraction`` of each class's training photos to the split ``name``."""
    units = _units(members, splits, together, name, seed)
    left = Counter(class_name for unit in units for class_name in unit.classes)
    photos = Counter(unit.class_name for unit in units for _ in unit.photos)
    moved = list(splits)
    for class_name in sorted(photos):
        wanted = _share(photos[class_name], fraction)
        own = sorted((unit for unit in units if unit.class_name == class_name), key=lambda unit: unit.rank)
        for unit in _chosen(own, wanted, left):
            for index in unit.photos:
                moved[index] = name
    return moved


def _units(
    members: Sequence[Member], splits: Sequence[str], together: Sequence[object], name: str, seed: int
) -> list[_Unit]:
    groups: dict[object, list[int]] = defaultdict(list)
    for index, split in enumerate(splits):
        if split == "train":
            groups[together[index]].append(index)
    units = []
    for photos in groups.values():
        counts = Counter(members[index].class_name for index in photos)
        class_name = min(counts, key=lambda name: (-counts[name], name))
        rank = _rank(seed, name, class_name, min(members[index].sha256 for index in photos))
        units.append(_Unit(tuple(photos), class_name, frozenset(counts), rank))
    return units


def _chosen(units: Sequence[_Unit], wanted: int, left: Counter[str]) -> list[_Unit]:
    """Take units in their order where they bring the number of photos nearer to ``wanted``; the smallest if none does.

    One unit of each class stays: ``left``, the units of each class, is counted down.
    """
    chosen: list[_Unit] = []
    room = wanted
    for unit in units:
        if len(unit.photos) < 2 * room and _spared(unit, left):
            room -= len(unit.photos)
            left.subtract(unit.classes)
            chosen.append(unit)
    if wanted and not chosen:
        chosen = [unit for unit in sorted(units, key=lambda unit: len(unit.photos)) if _spared(unit, left)][:1]
        left.subtract(name for unit in chosen for name in unit.classes)
    return chosen


def _spared(unit: _Unit, left: Counter[str]) -> bool:
    return all(left[name] > 1 for name in unit.classes)


def _share(count: int, fraction: float) -> int:
    """How many of ``count`` photos to take: none for a fraction of 0, else at least one, and one is always left."""
    if not fraction:
        return 0
    return min(max(1, int(count * fraction + 0.5)), count - 1)


def _rank(seed: int, name: str, class_name: str, sha256: str) -> str:
    return hashlib.sha256(f"{seed}:{name}:{class_name}:{sha256}".encode()).hexdigest()
