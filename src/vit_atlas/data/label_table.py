"""Labels in a table beside the photos: ``labels.csv``, .tsv or .parquet with path, label, and maybe split and group."""

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vit_atlas.data.candidates import Candidate, Layout, Rejected
from vit_atlas.data.class_folders import layout_of
from vit_atlas.data.photos import looks_like_photo
from vit_atlas.data.splits import check_splits, split_of
from vit_atlas.data.tree import Folder, finder, folded, name_below
from vit_atlas.errors import AtlasError, some
from vit_atlas.io.tables import Table, read_table

NAMES = ("labels.csv", "labels.tsv", "labels.parquet")

COLUMNS = {
    "path": (
        *("path", "file_path", "filepath", "file_name", "filename", "file"),
        *("image_path", "image_name", "image", "img_path", "img", "photo"),
    ),
    "label": ("label", "class", "class_name", "label_name", "category"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "group_id"),
}
"""Names that the column of each meaning may have, the documented one first."""


@dataclass
class _Rows:
    """What the rows say, as far as they agree with the folder and with each other."""

    labels: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    splits: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    groups: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    lines: dict[Path, list[int]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, int] = field(default_factory=dict)
    """Paths without a file, with the line."""
    by_end: dict[str, Path] = field(default_factory=dict)
    """Names that are only the end of a photo's path, lack its suffix, or are absolute."""


def table_layout(root: Folder, table: Path, files: Sequence[Path]) -> Layout:
    """List the photos that ``table`` names.

    Args:
        root: the folder of the table, to which its paths are relative.
        table: the table.
        files: every file below ``root`` that is no mask.

    Raises:
        AtlasError: the table cannot be read, or names splits that are not known.
    """
    content = read_table(table, COLUMNS, ("path", "label"))
    if not content.rows:
        raise AtlasError(f"{table} has no rows: expected a path and a label in each")
    check_splits(table, content)
    others = [path for path in files if path != table]
    rows = _collect(root, content, finder(root, others))
    candidates, rejected = _candidates(root, rows, "split" in content.columns)
    rejected += [
        Rejected(path, f"in line {line} of {table.name}, but missing", "missing") for path, line in rows.missing.items()
    ]
    unlisted = [path for path in others if path not in rows.lines]
    rejected += [
        Rejected(name_below(root.path, path), f"no row of {table.name} names it", "not-listed")
        for path in unlisted
        if looks_like_photo(path)
    ]
    ignored = [name_below(root.path, path) for path in (table, *unlisted) if not looks_like_photo(path)]
    classes = {candidate.class_name for candidate in candidates}
    layout = layout_of(
        "label-table", classes, candidates, rejected, ignored, _warnings(root, table, content, rows, rejected)
    )
    return replace(layout, notes=tuple(f"{table.name}: {note}" for note in _notes(root, content, rows)))


def _notes(root: Folder, content: Table, rows: _Rows) -> list[str]:
    renamed = [f"`{name}` as the {meaning}" for meaning, name in content.columns.items() if name != COLUMNS[meaning][0]]
    notes = [f"read the column {', '.join(renamed)}"] if renamed else []
    if rows.by_end:
        name, path = next(iter(rows.by_end.items()))
        notes.append(
            f"{len(rows.by_end)} photos were found by the end of their path ({name}: {name_below(root.path, path)})"
        )
    return notes


def _collect(root: Folder, content: Table, find: Callable[[str], Path | None]) -> _Rows:
    rows = _Rows()
    for line, values in content.rows:
        path = find(values["path"])
        if path is None:
            rows.missing.setdefault(values["path"], line)
            continue
        if folded(values["path"]) != folded(name_below(root.path, path)):
            rows.by_end[values["path"]] = path
        rows.lines[path].append(line)
        rows.labels[path].add(unicodedata.normalize("NFC", values["label"]))
        rows.splits[path].add(split_of(values.get("split", "")))
        rows.groups[path].add(values.get("group", ""))
    return rows


def _candidates(root: Folder, rows: _Rows, with_splits: bool) -> tuple[list[Candidate], list[Rejected]]:
    """Photos with one label, split and group each; the others are rejected with what contradicts."""
    candidates, rejected = [], []
    some_split = any(split for splits in rows.splits.values() for split in splits)
    for path, labels in rows.labels.items():
        name = name_below(root.path, path)
        lines = ", ".join(map(str, rows.lines[path][:5]))
        reason, kind = "", ""
        if labels == {""}:
            reason, kind = f"no label in line {lines}", "no-label"
        elif len(labels) > 1:
            shown = ", ".join(f"`{label}`" for label in sorted(labels))
            reason, kind = f"contradicting labels ({shown}) in lines {lines}", "contradicting-labels"
        elif len(rows.splits[path]) > 1 or len(rows.groups[path]) > 1:
            reason, kind = f"contradicting splits or groups in lines {lines}", "contradicting-rows"
        elif some_split and rows.splits[path] == {""}:
            reason, kind = f"no split in line {lines}, where other rows have one", "no-split"
        if reason:
            rejected.append(Rejected(name, reason, kind))
            continue
        (label,), (split,), (group,) = labels, rows.splits[path], rows.groups[path]
        candidates.append(Candidate(path, name, label, split, group=group))
    return candidates, rejected


def _warnings(root: Folder, table: Path, content: Table, rows: _Rows, rejected: Sequence[Rejected]) -> list[str]:
    """What is wrong between table and folder: counted, the first few named."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for item in rejected:
        by_kind[item.kind].append(item.file)
    twice = sorted(name_below(root.path, path) for path, lines in rows.lines.items() if len(lines) > 1)
    told = {
        "rows name files that are missing": by_kind["missing"],
        "photos have contradicting labels": by_kind["contradicting-labels"],
        "photos have contradicting splits or groups": by_kind["contradicting-rows"],
        "photos have no label": by_kind["no-label"],
        "photos have no split, though others do": by_kind["no-split"],
        "photos have several rows": twice,
        "photos have no row": by_kind["not-listed"],
    }
    warnings = [f"{table.name}: {len(names)} {what} ({some(names)})" for what, names in told.items() if names]
    if content.encoding == "cp1252":
        warnings.append(
            f"{table.name} is not UTF-8 and was read as Windows-1252: save it as UTF-8 if its accents are wrong"
        )
    return warnings
