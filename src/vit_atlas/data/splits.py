"""Train, val and test: what the folder gives, and what the seed adds.

A photo's place depends on the seed, its class and the hash of its bytes, so renaming a photo moves nothing, and
copies of one photo stay together.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Member:
    """What a split has to know of a photo: its split in the folder (or empty), its class and the hash of its bytes."""

    split: str
    class_name: str
    sha256: str


def assign_splits(members: list[Member], val_fraction: float, test_fraction: float, seed: int) -> list[str]:
    """The final split of each member, in their order.

    - train, val and test given: they stay. ``val`` is for selection, ``test`` for evaluate alone.
    - train and val given (the homework's): val is the test, and ``val_fraction`` of train becomes val.
    - train and test given: ``val_fraction`` of train becomes val.
    - nothing given, or train alone: ``test_fraction`` becomes test, then ``val_fraction`` of the rest val.

    What is taken is stratified: the same share of every class, rounded, at least one photo where that leaves one for
    train.
    """
    given = {member.split for member in members}
    splits = [member.split or "train" for member in members]
    if "test" not in given and "val" in given:
        splits = ["test" if split == "val" else split for split in splits]
    elif "test" not in given:
        splits = _take(members, splits, "test", test_fraction, seed)
    if "val" not in splits:
        splits = _take(members, splits, "val", val_fraction, seed)
    return splits


def _take(members: list[Member], splits: list[str], name: str, fraction: float, seed: int) -> list[str]:
    """Move ``fraction`` of each class's training photos to the split ``name``."""
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (member, split) in enumerate(zip(members, splits, strict=True)):
        if split == "train":
            groups[member.class_name][member.sha256].append(index)
    moved = list(splits)
    for class_name, copies in groups.items():
        wanted = _share(len(copies), fraction)
        order = sorted(copies, key=lambda sha256: _rank(seed, name, class_name, sha256))
        for sha256 in order[:wanted]:
            for index in copies[sha256]:
                moved[index] = name
    return moved


def _share(count: int, fraction: float) -> int:
    """How many of ``count`` photos to take: none for a fraction of 0, else at least one, and one is always left."""
    if not fraction:
        return 0
    return min(max(1, int(count * fraction + 0.5)), count - 1)


def _rank(seed: int, name: str, class_name: str, sha256: str) -> str:
    return hashlib.sha256(f"{seed}:{name}:{class_name}:{sha256}".encode()).hexdigest()
