"""Corrected labels in a table beside the photos: label_overrides.csv with path and label. Photos are never touched."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from vit_atlas.data import label_table
from vit_atlas.data.candidates import Layout
from vit_atlas.data.tree import Folder, find_table, finder, name_below
from vit_atlas.errors import AtlasError, some
from vit_atlas.io.frames import write_csv
from vit_atlas.io.tables import read_table

NAME = "label_overrides.csv"

COLUMNS = {
    "path": (*label_table.COLUMNS["path"], "image_id"),
    "label": ("label", "suggested_name"),
}
"""Names that each column may have; rows of build/suspects.csv will do."""


def take_overrides(root: Folder) -> Path | None:
    """Take the table out of the files of ``root``, whatever its letter case; None where there is none.

    Raises:
        AtlasError: there are several.
    """
    found = find_table(root, (NAME,), "overrides")
    root.files = [path for path in root.files if path != found]
    return found


def overridden(root: Folder, layout: Layout, table: Path) -> Layout:
    """Give photos the labels of ``table``, and count them.

    Raises:
        AtlasError: the table cannot be read, or has labels or paths that are not known.
    """
    photos = [candidate.path for candidate in layout.candidates]
    # What was left out before has a name in the table without being a photo of the manifest.
    left_out = [item.file for item in layout.rejected]
    new, _ = _read(table, root, photos, layout.classes, left_out)
    candidates = tuple(replace(one, class_name=new.get(one.path, one.class_name)) for one in layout.candidates)
    changed = sum(one.class_name != old.class_name for one, old in zip(candidates, layout.candidates, strict=True))
    ignored = (*layout.ignored, name_below(root.path, table))
    return replace(layout, candidates=candidates, ignored=ignored, overridden=changed)


def write_corrections(
    folder: Path, corrections: Path, photos: Sequence[Path], classes: Sequence[str], left_out: Collection[str] = ()
) -> tuple[int, int, int]:
    """Add the rows of ``corrections`` to the table of overrides in ``folder``; later ones win.

    Args:
        folder: of the photos.
        corrections: a table with path and label.
        photos: that may be named.
        classes: labels that may be given.
        left_out: names of files that prepare left out; corrections of these are not added.

    Returns:
        How many labels the corrections give, how many the table of overrides has now, and how many corrections name
        files that were left out.

    Raises:
        AtlasError: a table cannot be read, or has labels or paths that are not known; nothing is written then.
    """
    if not folder.is_dir():
        raise AtlasError(f"there is no folder {folder}, whose labels could be corrected: `dvc checkout` brings it")
    root = Folder(folder, sorted(path for path in folder.iterdir() if not path.is_dir()))
    labels, gone = _read(corrections, root, photos, classes, left_out)
    if not labels and not gone:
        raise AtlasError(f"{corrections} has no rows: expected a path and a label in each")
    table = find_table(root, (NAME,), "overrides")
    # What it says of a file that is left out is kept: the file may be mended.
    known, kept = _read(table, root, photos, classes, left_out) if table else ({}, {})
    both = kept | {name_below(folder, path): label for path, label in (known | labels).items()}
    if labels:
        write_csv(table or folder / NAME, pd.DataFrame(sorted(both.items()), columns=["path", "label"]))
    return len(labels), len(both), len(gone)


def _read(
    table: Path, root: Folder, photos: Sequence[Path], classes: Sequence[str], left_out: Collection[str]
) -> tuple[dict[Path, str], dict[str, str]]:
    """The label of each photo that the table names, and of each file of ``left_out``, as it is spelt.

    Raises:
        AtlasError: everything that is wrong with its rows, in one sentence.
    """
    labels, gone = dict[Path, str](), dict[str, str]()
    # Both together: the name of a file that is left out must not find a photo whose path only ends like it.
    without_photo = {root.path / name for name in left_out} - set(photos)
    find = finder(root, [*photos, *sorted(without_photo)])
    unknown_paths, unknown_labels, twice = list[str](), list[str](), list[str]()
    for _, row in read_table(table, COLUMNS, ("path", "label")).rows:
        path, label = find(row["path"]), unicodedata.normalize("NFC", row["label"])
        if path in without_photo:
            gone[row["path"]] = label
        elif path is None:
            unknown_paths.append(row["path"])
        elif label not in classes:
            unknown_labels.append(f"`{label}`")
        elif labels.setdefault(path, label) != label:
            twice.append(row["path"])
    told = {
        "rows name no usable photo": unknown_paths,
        f"rows have a label that is none of the {len(classes)} classes": unknown_labels,
        "photos have contradicting labels": twice,
    }
    wrong = [f"{len(names)} {what} ({some(set(names))})" for what, names in told.items() if names]
    if wrong:
        raise AtlasError(f"{table}: {'; '.join(wrong)}: correct or remove these rows")
    return labels, gone
