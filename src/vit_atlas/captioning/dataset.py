"""data/captioning as it lies on disk: photos, captions.csv, and masks of the things that captions name."""

import csv
import hashlib
import io
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from vit_atlas.data.photos import looks_like_photo
from vit_atlas.data.tree import files_below
from vit_atlas.errors import AtlasError
from vit_atlas.paths import CAPTIONING_DATA

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class CaptionedPhoto:
    """A photo and what people wrote about it."""

    name: str
    """Path under images/, with slashes."""
    path: Path
    split: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class NounMask:
    """Where in a photo a thing is that captions may name."""

    noun: str
    path: Path


@dataclass(frozen=True)
class Subject:
    """A photo to caption, and what people know of it."""

    name: str
    """Path under images/, with slashes."""
    path: Path
    captions: tuple[str, ...] = ()
    """What people wrote; empty where nobody did."""
    things: tuple[NounMask, ...] = ()
    """Masks of nouns."""


def read_captions(folder: str | Path = CAPTIONING_DATA) -> list[CaptionedPhoto]:
    """Read ``captions.csv`` (image, caption and, if there, split) beside ``images/``; one entry a photo, in file order.

    Without a split column a photo's own name decides: 8 in 10 train, 1 val, 1 test.

    Raises:
        AtlasError: the file is missing or damaged, or a line names a photo that does not exist or lies outside
            ``images/``, an empty caption, an unknown split, or a photo that another line puts into another split; the
            message gives the line.
    """
    root = Path(folder)
    table = root / "captions.csv"
    captions: dict[str, list[str]] = defaultdict(list)
    splits: dict[str, str] = {}
    missing: dict[str, int] = {}
    names = _Names(root / "images")
    for line, row in _rows(table):
        name, caption = row["image"].strip(), row["caption"].strip()
        _require_inside(table, line, name)
        on_disk = names.on_disk(name)
        if not on_disk:
            missing.setdefault(name, line)
            continue
        name = on_disk
        if not any(character.isalnum() for character in caption):
            raise AtlasError(f"{table}, line {line}: the caption of {name} is empty; write one or remove the line")
        split = row["split"].strip() if "split" in row else _split_of(name)
        if split not in SPLITS:
            raise AtlasError(f"{table}, line {line}: the split of {name} is `{split}`, not one of {', '.join(SPLITS)}")
        if splits.setdefault(name, split) != split:
            raise AtlasError(f"{table}, line {line}: {name} is in {split} here and in {splits[name]} further up")
        captions[name].append(caption)
    _check_none(table, missing)
    if not captions:
        raise AtlasError(f"{table} holds no captions; add lines of image,caption or delete the file")
    return [
        CaptionedPhoto(name, root / "images" / name, splits[name], tuple(written)) for name, written in captions.items()
    ]


def has_captions(folder: str | Path = CAPTIONING_DATA) -> bool:
    """Whether there is a ``captions.csv``."""
    return (Path(folder) / "captions.csv").is_file()


def read_photos(folder: str | Path = CAPTIONING_DATA) -> list[Path]:
    """All photos of ``images/``, by name.

    Raises:
        AtlasError: there are none, or a folder cannot be listed.
    """
    images = Path(folder) / "images"
    files = files_below(images) if images.is_dir() else []
    found = sorted(path for path in files if looks_like_photo(path) and path.is_file())
    if not found:
        raise AtlasError(f"{images} holds no photos: put some there, or make the sample with `vit-atlas data stickers`")
    return found


def read_objects(folder: str | Path = CAPTIONING_DATA) -> dict[str, list[NounMask]]:
    """Read ``objects.jsonl``: for each photo's name the nouns that have a mask; empty without that file.

    Raises:
        AtlasError: a line is no JSON object with image, noun and mask, or names a file that does not exist or lies
            outside ``folder``.
    """
    root = Path(folder)
    table = root / "objects.jsonl"
    found: dict[str, list[NounMask]] = defaultdict(list)
    if not table.is_file():
        return found
    for line, text in enumerate(_text(table).split("\n"), start=1):
        if text.strip():
            item = _object(table, line, text)
            _require_inside(table, line, item["image"], item["mask"])
            for path in (root / "images" / item["image"], root / item["mask"]):
                if not path.is_file():
                    raise AtlasError(f"{table}, line {line}: there is no {path}; add it or remove the line")
            found[item["image"]].append(NounMask(item["noun"].strip().lower(), root / item["mask"]))
    return found


class _Names:
    """Names of photos as they are on the disk, where an accent may be a sign of its own (macOS, some archives)."""

    def __init__(self, images: Path) -> None:
        self._images = images
        self._composed: dict[str, str] | None = None

    def on_disk(self, name: str) -> str:
        """The name of the file that ``name`` in a table means; empty where there is none."""
        if (self._images / name).is_file():
            return name
        if self._composed is None:
            files = files_below(self._images) if self._images.is_dir() else []
            names = (path.relative_to(self._images).as_posix() for path in files if path.is_file())
            self._composed = {unicodedata.normalize("NFC", name): name for name in names}
        return self._composed.get(unicodedata.normalize("NFC", PurePath(name).as_posix()), "")


def _check_none(table: Path, missing: dict[str, int]) -> None:
    """Raise an error that names the first few of the photos that do not exist, with their lines."""
    if not missing:
        return
    (first, line), *others = missing.items()
    more = ""
    if others:
        shown = ", ".join(f"{name} (line {number})" for name, number in others[:3])
        more = f", and {len(others)} more are missing: {shown}{', ...' if len(others) > 3 else ''}"
    raise AtlasError(
        f"{table}, line {line}: there is no photo {table.parent / 'images' / first}{more}; add "
        f"{'them or remove their lines' if others else 'it or remove the line'}"
    )


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(_text(table), newline=""), strict=True)  # U+2028 ends no line
    columns = reader.fieldnames or []
    if not {"image", "caption"} <= set(columns):
        raise AtlasError(
            f"{table} has the columns {', '.join(columns) or 'none'}; it needs image and caption (and split)"
        )
    try:
        for row in reader:
            if None in row or None in row.values():
                raise AtlasError(
                    f"{table}, line {reader.line_num}: not {len(columns)} fields as the first line has; "
                    'put captions with commas between "quotes"'
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise AtlasError(f"{table}, line {reader.line_num}: not valid CSV ({error})") from None


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise AtlasError(
            f"{table} does not exist: it says which caption belongs to which photo (columns image, caption, split)"
        ) from None
    except UnicodeDecodeError:
        raise AtlasError(f"{table} is not UTF-8 text: save it as UTF-8") from None


def _object(table: Path, line: int, text: str) -> dict[str, Any]:
    try:
        item = json.loads(text)
    except json.JSONDecodeError:
        item = None
    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("image", "noun", "mask")):
        raise AtlasError(f'{table}, line {line}: expected {{"image": ..., "noun": ..., "mask": ...}} with three texts')
    return item


def _require_inside(table: Path, line: int, *names: str) -> None:
    """Let a table from elsewhere point at the files beside it only: photos end on a page that people share."""
    for name in names:
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise AtlasError(f"{table}, line {line}: {name!r} leads out of the folder; name files below it")


def _split_of(name: str) -> str:
    tenth = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 10
    return {0: "test", 1: "val"}.get(tenth, "train")
