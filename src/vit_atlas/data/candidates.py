"""What a folder claims to hold, before any file is opened: candidates for photos, and files left out by their place."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Candidate:
    """A file that claims to be a photo; split, mask_kind and group are empty where the layout gives none."""

    path: Path
    image_id: str
    class_name: str
    split: str = ""
    mask: Path | None = None
    mask_kind: str = ""
    group: str = ""


@dataclass(frozen=True)
class Rejected:
    """A file left out: its path below the data folder, why, and the same in a word to count by."""

    file: str
    reason: str
    kind: str


@dataclass(frozen=True)
class Layout:
    """What a folder holds: ``kind`` is image-folder, image-folder-with-splits, homework, oxford-pets or
    label-table.

    ``classes`` are all class names in the order of their labels, with those that have no photo. Every file below the
    folder is in one of ``candidates`` (as photo or as mask), ``rejected``, ``unused_masks`` (files below `masks/` that
    belong to no photo) and ``ignored`` (notes, tables, and what systems and programs leave).
    """

    kind: str
    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...] = ()
    unused_masks: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    overridden: int = 0
    """Photos whose label was changed by a table beside them."""
    notes: tuple[str, ...] = ()
    """What was understood in one of several ways, such as the name of a column."""

    @property
    def splits(self) -> frozenset[str]:
        """The splits that the folder itself gives; empty where it has none."""
        return frozenset(candidate.split for candidate in self.candidates if candidate.split)
