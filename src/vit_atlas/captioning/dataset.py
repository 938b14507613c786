"""data/captioning as it lies on disk: photos in images/, and if they are there captions and masks of nouns."""

import hashlib
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vit_atlas.captioning import SMALLEST_SIDE
from vit_atlas.captioning.tables import CAPTION_TABLES, CaptionRows, NounMask, read_captions, read_objects
from vit_atlas.data.candidates import Candidate, Rejected
from vit_atlas.data.photos import LARGEST_PHOTO, looks_like_photo
from vit_atlas.data.remembered import Inspection
from vit_atlas.data.tree import Folder, Tree, find_table, finder, name_below, read_tree
from vit_atlas.data.verify import inspect_all
from vit_atlas.errors import AtlasError, printable, some
from vit_atlas.paths import ABOUT, CAPTIONING_DATA

IMAGES = "images"
OBJECTS = ("objects.jsonl",)

INSTEAD = "or leave captions out with `vit-atlas use captioner=none`"


@dataclass(frozen=True)
class CaptionedPhoto:
    """A photo to caption, and what people know of it."""

    name: str
    """Path under images/, with slashes."""
    path: Path
    split: str = ""
    """Empty where nobody captioned it."""
    captions: tuple[str, ...] = ()
    """What people wrote."""
    things: tuple[NounMask, ...] = ()
    """Masks of nouns."""


@dataclass(frozen=True)
class CaptionDataset:
    """The photos of a folder that can be opened, and what was left out."""

    photos: tuple[CaptionedPhoto, ...]
    """First those with captions, in the order of the table, then the others by name."""
    left_out: tuple[Rejected, ...]
    warnings: tuple[str, ...]
    """Sentences about what is odd but does not stop the work; what was left out is counted there."""
    description: str
    """What people call it: the first sentence of its ABOUT.txt, or how many photos, with a hash of photos and
    captions."""

    def tell(self) -> None:
        """Write the warnings to stderr."""
        for line in self.warnings:
            sys.stderr.write(f"warning: {printable(line)}\n")

    def of_split(self, name: str) -> list[CaptionedPhoto]:
        """The captioned photos of a split.

        Raises:
            AtlasError: there are none.
        """
        found = [photo for photo in self.photos if photo.split == name]
        if not found:
            table = CAPTIONING_DATA / CAPTION_TABLES[0]
            what = f"{table} has no usable photo in the split `{name}`: train, val and test each need one"
            if not any(photo.captions for photo in self.photos):
                what = f"no photo has a caption: {table} is missing or empty (columns image,caption[,split])"
            raise AtlasError(f"{what}; add some, {INSTEAD}")
        return found


def captions_table(folder: Path) -> Path | None:
    """Find the table of captions in a folder that has images/ beside it; None where it is no such folder."""
    if not folder.is_dir():
        return None
    root = read_tree(folder).root
    images = any(below.name.lower() == IMAGES for below in root.folders)
    return find_table(root, CAPTION_TABLES, "captions") if images else None


def read_dataset(folder: str | Path = CAPTIONING_DATA, cache: Path | None = None) -> CaptionDataset:
    """Read ``images/``, the table of captions beside it (``captions.csv``) and ``objects.jsonl``; open every photo.

    Without splits in the table a photo's own name decides: 8 in 10 train, 1 val, 1 test, and with three photos or more
    at least one each.

    Args:
        folder: what holds them.
        cache: folder that remembers which photos earlier runs opened; the result is the same without.

    Raises:
        AtlasError: there is no photo, a table is no such table, or nothing of it can be used.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AtlasError(f"{root} is not a folder: put images/ there, make the sample (`make sample`), {INSTEAD}")
    tree = read_tree(root)
    images = _images(tree)
    find_photo = _photo_finder(tree, images)
    rows = CaptionRows()
    things: dict[Path, list[NounMask]] = {}
    warnings: list[str] = []
    if table := find_table(tree.root, CAPTION_TABLES, "captions"):
        rows = read_captions(table, find_photo)
    if objects := find_table(tree.root, OBJECTS, "objects"):
        things, warnings = read_objects(objects, find_photo, finder(tree.root, tree.root.all_files()))
    others = sorted(path for path in images.all_files() if looks_like_photo(path) and path not in rows.captions)
    paths = [*rows.captions, *others]
    names = {path: name_below(images.path, path) for path in paths}
    if not paths:
        raise AtlasError(f"{images.path} holds no photos: put some there, make the sample (`make sample`), {INSTEAD}")
    inspected = _inspect(paths, names, cache)
    splits, left_out = _splits(rows, names)
    left_out += [Rejected(item.candidate.image_id, item.reason, item.kind) for item in inspected if item.reason]
    left_out += [item for item in tree.rejected if item.file.startswith(f"{images.name}/")]
    usable = [item.candidate.path for item in inspected if not item.reason]
    usable = [path for path in usable if path in splits or path not in rows.captions]
    splits = _balanced({path: splits[path] for path in usable if path in splits}, names, rows.with_splits)
    photos = tuple(
        CaptionedPhoto(
            names[path], path, splits.get(path, ""), tuple(rows.captions.get(path, ())), tuple(things.get(path, ()))
        )
        for path in usable
    )
    found = [*rows.warnings, *warnings, *_warnings(photos, left_out, inspected)]
    if not photos:
        raise AtlasError(f"{images.path} holds no usable photo: {'; '.join(found)}")
    return CaptionDataset(photos, tuple(left_out), tuple(found), _description(root, photos, inspected))


def _images(tree: Tree) -> Folder:
    found = [folder for folder in tree.root.folders if folder.name.lower() == IMAGES]
    if len(found) != 1:
        missing = "no folder" if not found else "several folders called"
        raise AtlasError(f"{tree.root.path} has {missing} images/: the photos to caption belong there, {INSTEAD}")
    return found[0]


def _photo_finder(tree: Tree, images: Folder) -> Callable[[str], Path | None]:
    """Finds photos by their path below images/, or below the folder of the table."""
    below, beside = finder(images, images.all_files()), finder(tree.root, images.all_files())
    return lambda name: below(name) or beside(name)


def _inspect(paths: Sequence[Path], names: dict[Path, str], cache: Path | None) -> list[Inspection]:
    candidates = tuple(Candidate(path, names[path], "") for path in paths)
    return [_visible(item) for item in inspect_all(candidates, LARGEST_PHOTO, cache)]


def _visible(item: Inspection) -> Inspection:
    width, height = item.facts.width, item.facts.height
    if item.reason or min(width, height) >= SMALLEST_SIDE:
        return item
    reason = f"{width}x{height} pixels: a captioner needs at least {SMALLEST_SIDE} a side"
    return Inspection(item.candidate, reason, "too-small")


def _splits(rows: CaptionRows, names: dict[Path, str]) -> tuple[dict[Path, str], list[Rejected]]:
    """The split of each captioned photo, and the photos whose rows contradict each other."""
    splits: dict[Path, str] = {}
    left_out = []
    for path, found in rows.splits.items():
        if len(found) > 1:
            shown = " and ".join(sorted(f"`{split}`" if split else "none" for split in found))
            left_out.append(Rejected(names[path], f"contradicting splits ({shown})", "contradicting-rows"))
        elif rows.with_splits and found == {""}:
            left_out.append(Rejected(names[path], "no split, where other rows have one", "no-split"))
        else:
            (split,) = found
            splits[path] = split or _split_by_name(names[path])
    return splits, left_out


def _split_by_name(name: str) -> str:
    return {0: "test", 1: "val"}.get(_rank(name) % 10, "train")


def _rank(name: str) -> int:
    return int.from_bytes(hashlib.sha256(unicodedata.normalize("NFC", name).encode()).digest()[:4], "big")


def _balanced(splits: dict[Path, str], names: dict[Path, str], as_given: bool) -> dict[Path, str]:
    """Give each split that chance left empty one of the training photos, where the table itself has no splits."""
    for split in ("test", "val", "train"):
        if not as_given and len(splits) > 2 and split not in splits.values():
            most = max(set(splits.values()), key=lambda name: (list(splits.values()).count(name), name))
            photo = min((path for path in splits if splits[path] == most), key=lambda path: _rank(names[path]))
            splits = splits | {photo: split}
    return splits


def _warnings(
    photos: Iterable[CaptionedPhoto], left_out: Sequence[Rejected], inspected: Iterable[Inspection]
) -> list[str]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in left_out:
        by_reason[item.reason if item.kind in ("contradicting-rows", "no-split") else "not usable"].append(item.file)
    found = [f"{len(names)} photos are left out ({some(names)}): {reason}" for reason, names in by_reason.items()]
    if "not usable" in by_reason:
        first = min((item for item in left_out if item.file in by_reason["not usable"]), key=lambda item: item.file)
        found = [line.replace(": not usable", f": {first.file} first, {first.reason}") for line in found]
    places = {photo.path: photo for photo in photos}
    without = [photo.name for photo in places.values() if not photo.captions]
    if without and len(without) < len(places):
        found.append(f"{len(without)} photos have no caption ({some(without)})")
    copies: dict[str, list[CaptionedPhoto]] = defaultdict(list)
    for inspection in inspected:
        photo = places.get(inspection.candidate.path)
        if photo and photo.split:
            copies[inspection.pixels].append(photo)
    torn = [group for group in copies.values() if len({photo.split for photo in group}) > 1]
    if torn:
        found.append(f"{len(torn)} pictures lie in several splits ({some(photo.name for photo in torn[0])} first)")
    return found


def _description(root: Path, photos: Sequence[CaptionedPhoto], inspected: Iterable[Inspection]) -> str:
    if (root / ABOUT).is_file():
        text = " ".join((root / ABOUT).read_text(encoding="utf-8", errors="replace").split())
        if first := re.split(r"(?<=\w)\. | \(|$", text)[0][:160]:
            return first
    hashes = {item.candidate.path: item.sha256 for item in inspected}
    digest = hashlib.sha256(repr([(hashes[p.path], p.captions) for p in photos]).encode()).hexdigest()
    return f"{len(photos)} photos of {root}, {digest[:12]}"
