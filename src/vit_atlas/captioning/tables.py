"""The two tables of data/captioning: captions.csv, and objects.jsonl with masks or boxes of what captions name."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vit_atlas.data.splits import check_splits, split_of
from vit_atlas.errors import AtlasError, some
from vit_atlas.io.tables import read_table, read_text

CAPTION_TABLES = ("captions.csv", "captions.tsv", "captions.txt", "captions.parquet")

COLUMNS = {
    "image": (
        *("image", "image_name", "image_path", "image_file", "file_name", "filename", "file", "file_path", "path"),
        *("photo", "img"),
    ),
    "caption": ("caption", "text", "comment", "description", "sentence"),
    "split": ("split", "subset", "partition"),
}
"""Names that the column of each meaning may have, the documented one first."""

Find = Callable[[str], Path | None]
"""From a name in a table to the file that it means, if there is one."""


LARGEST_EDGE = 1e6
"""No photo has so many pixels a side."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the upright photo."""


@dataclass(frozen=True)
class NounMask:
    """Where in a photo a thing is that captions may name: one of its mask and its box."""

    noun: str
    path: Path | None
    """Its mask."""
    box: Box | None = None


@dataclass
class CaptionRows:
    """What captions.csv says of the photos that exist."""

    captions: dict[Path, list[str]] = field(default_factory=lambda: defaultdict(list))
    splits: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Empty text: a row without a split."""
    warnings: list[str] = field(default_factory=list)

    @property
    def with_splits(self) -> bool:
        """Whether any row has a split."""
        return any(split for splits in self.splits.values() for split in splits)


def read_captions(table: Path, find: Find) -> CaptionRows:
    """Read captions.csv: image, caption and, if there, split. Rows without a photo or a caption are counted and named.

    White space of any kind inside a caption is one space.

    Args:
        table: the file, in any encoding and with any separator that :func:`read_table` knows.
        find: gives the photo of a row.

    Raises:
        AtlasError: the file is no such table, names splits that are not known, or is left without any caption.
    """
    content = read_table(table, COLUMNS, ("image", "caption"))
    check_splits(table, content)
    rows = CaptionRows()
    missing: dict[str, int] = {}
    empty: list[int] = []
    for line, values in content.rows:
        path = find(values["image"])
        caption = unicodedata.normalize("NFC", " ".join(values["caption"].split()))
        if path is None:
            missing.setdefault(values["image"], line)
        elif not any(character.isalnum() for character in caption):
            empty.append(line)
        else:
            rows.captions[path].append(caption)
            rows.splits[path].add(split_of(values.get("split", "")))
    if missing:
        rows.warnings.append(f"{table.name}: {len(missing)} photos that it names are missing ({some(missing)})")
    if empty:
        rows.warnings.append(f"{table.name}: {len(empty)} captions are empty (lines {_lines(empty)})")
    if content.encoding == "cp1252":
        rows.warnings.append(f"{table.name} is not UTF-8 and was read as Windows-1252: save it as UTF-8")
    if not rows.captions:
        why = f" ({'; '.join(rows.warnings)})" if rows.warnings else ""
        raise AtlasError(
            f"{table} holds no caption of a photo{why}: add lines of image,caption with paths below images/, or delete "
            "the file"
        )
    return rows


def read_objects(table: Path, find_photo: Find, find_mask: Find) -> tuple[dict[Path, list[NounMask]], list[str]]:
    """Read objects.jsonl: the nouns that have a mask or a box in each photo, and sentences about missing files.

    A line that has both is read by its mask.

    Raises:
        AtlasError: lines are no JSON objects with the texts image and noun and with a mask or a box; the message names
            all of them.
    """
    found: dict[Path, list[NounMask]] = defaultdict(list)
    wrong: list[int] = []
    missing: dict[str, set[str]] = {"photos": set(), "masks": set()}
    text, _ = read_text(table)
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        item = _parsed(line) if line.strip() else {}
        if item is None:
            wrong.append(number)
        elif item:
            photo, mask = find_photo(item["image"]), find_mask(item["mask"]) if "mask" in item else None
            if photo is None:
                missing["photos"].add(item["image"])
            if "mask" in item and mask is None:
                missing["masks"].add(item["mask"])
            if photo and (mask or "mask" not in item):
                found[photo].append(NounMask(item["noun"], mask, item.get("box")))
    if wrong:
        form = '{"image": ..., "noun": ..., "mask": ...} with three texts, or "box": [x0, y0, x1, y1] instead of "mask"'
        form += " with four pixel positions, x0 < x1 and y0 < y1"
        raise AtlasError(f"{table}: {len(wrong)} lines are not {form} (lines {_lines(wrong)}): correct or remove them")
    warnings = [
        f"{table.name}: {len(names)} {what} that it names are missing ({some(names)})"
        for what, names in missing.items()
        if names
    ]
    return found, warnings


def _parsed(line: str) -> dict[str, Any] | None:
    """Image, noun as captions write it, and mask or else box of a line; None where it is something else."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(item, dict) or not all(_is_text(item.get(key)) for key in ("image", "noun")):
        return None
    noun = " ".join(unicodedata.normalize("NFKC", item["noun"]).lower().split())
    found = {"image": item["image"].strip(), "noun": noun}
    if item.get("mask") is not None:
        return {**found, "mask": item["mask"].strip()} if _is_text(item["mask"]) else None
    return {**found, "box": tuple(item["box"])} if _is_box(item.get("box")) else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(type(edge) in (int, float) for edge in value):
        return False
    left, top, right, bottom = value
    return bool(left < right and top < bottom and all(abs(edge) < LARGEST_EDGE for edge in value))


def _lines(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
