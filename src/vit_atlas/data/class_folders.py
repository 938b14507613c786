"""Folders as labels: ``<class>/``, ``<split>/<class>/``, ``<class>/<split>/``, and the homework's ``{label}_{id}``.

What lies where decides, not the names alone: a folder called train with photos in it, beside other such folders, is a
class.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vit_atlas.data.candidates import Candidate, Layout, Rejected
from vit_atlas.data.photos import looks_like_photo
from vit_atlas.data.splits import KNOWN_SPLITS, split_of
from vit_atlas.data.tree import Folder, name_below, readable
from vit_atlas.errors import AtlasError

SPLIT_LIKE = re.compile(r"train|trn|test|tst|val|dev|eval|hold.?out")
"""What names contain that may be meant as splits: train2017, test_set."""

NOTES = frozenset(("", ".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".parquet"))
"""Suffixes of files that do not make a folder one of photos."""

HOMEWORK_NAME = re.compile(r"(\d+)_.+", re.DOTALL)

EXPECTED = (
    "expected <class>/*.jpg or <split>/<class>/*.jpg, {train,val}/{label}_{id}.jpg, labels.csv with the columns path "
    "and label, or images/ with annotations/trainval.txt as Oxford-IIIT Pet publishes them"
)


def class_name(folder: Folder) -> str:
    """A folder's name as a class: composed (NFC), as macOS and some archives write accents as signs of their own."""
    return unicodedata.normalize("NFC", readable(folder.name))


def class_folder_layout(root: Folder, folders: Sequence[Folder]) -> Layout:
    """List the photos of a folder whose own folders are classes or splits.

    Args:
        root: the folder.
        folders: those in it that are neither masks nor lists.

    Raises:
        AtlasError: the folders are neither all classes nor all splits; the message says what was expected.
    """
    if not any(folder.all_files() for folder in folders):
        raise unknown_layout(root)
    splits = [folder for folder in folders if split_of(folder.name)]
    others = [folder for folder in folders if folder not in splits and _photos(folder.all_files())]
    without = [folder for folder in folders if folder not in splits and folder not in others]
    if not splits and len(others) == 1 and not _photos(others[0].files) and len(others[0].folders) > 1:
        return _left_out(root, _unwrapped(root, others[0]), without)
    if not splits or (others and not any(_is_nested(folder) for folder in splits)):
        notes = [folder for folder in without if folder.all_files()]  # An empty folder is a class without photos.
        return _left_out(root, _classes(root, [folder for folder in folders if folder not in notes]), notes)
    if others:
        raise AtlasError(
            f"{root.path} mixes split folders with others ({_listed(others)}): move the others away, or give them the "
            f"name of a split ({KNOWN_SPLITS}); if all are classes, put their photos directly into them"
        )
    layout = _homework(root, splits) if not any(folder.folders for folder in splits) else _splits(root, splits)
    return _left_out(root, layout, without)


def unknown_layout(root: Folder) -> AtlasError:
    """The error of a folder in which nothing is known."""
    if not root.files and not root.folders:
        return AtlasError(f"{root.path} is empty: {EXPECTED}")
    return AtlasError(
        f"{root.path} has no layout known here (it holds {described(root)}): {EXPECTED}{table_hint(root)}"
    )


def table_hint(root: Folder) -> str:
    """What to do with a table that may hold the labels, but has another name."""
    tables = [path.name for path in root.files if path.suffix.lower() in (".csv", ".tsv", ".parquet")]
    return (
        f"; if {tables[0]} says what the photos are, call it labels{Path(tables[0]).suffix.lower()}" if tables else ""
    )


def strays(root: Folder, folder: Folder) -> tuple[list[Rejected], list[str]]:
    """Files beside class folders: photos are rejected, others (notes, tables) ignored."""
    photos = [path for path in folder.files if looks_like_photo(path)]
    rejected = [
        Rejected(name_below(root.path, path), "outside every class folder", "outside-classes") for path in photos
    ]
    return rejected, [name_below(root.path, path) for path in folder.files if not looks_like_photo(path)]


def near_names(classes: Iterable[str]) -> list[list[str]]:
    """Groups of class names that differ only in letter case, spaces, hyphens or underscores."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        groups[re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold()) or name].append(name)
    return [names for names in groups.values() if len(names) > 1]


def _unwrapped(root: Folder, wrapper: Folder) -> Layout:
    """The layout inside the one folder that holds all others, as archives have it."""
    layout = class_folder_layout(root, wrapper.folders)
    ignored = [name_below(root.path, path) for path in wrapper.files]
    return replace(layout, ignored=tuple(sorted([*layout.ignored, *ignored])))


def _left_out(root: Folder, layout: Layout, folders: Sequence[Folder]) -> Layout:
    """``layout`` with a warning that ``folders`` beside its own hold no photos."""
    if not folders:
        return layout
    ignored = [name_below(root.path, path) for folder in folders for path in folder.all_files()]
    warning = f"no photo in {_listed(folders)}: left out"
    return replace(layout, ignored=tuple(sorted([*layout.ignored, *ignored])), warnings=(warning, *layout.warnings))


def _classes(root: Folder, folders: Sequence[Folder]) -> Layout:
    flat = [folder for folder in folders if _photos(folder.files)]
    if not flat and len(folders) == 1:
        raise unknown_layout(root)
    if not flat and all(folder.folders and all(split_of(part.name) for part in folder.folders) for folder in folders):
        return _classes_with_splits(root, folders)
    warnings = []
    shared = [] if flat else _shared_names(folders)
    if shared:
        warnings = [_check_not_splits(root, folders, shared)]
    candidates, rejected = [], []
    for folder in folders:
        found, left = _class_folder(root, folder, folder, "")
        candidates += found
        rejected += left
    beside, ignored = strays(root, root)
    names = {class_name(folder) for folder in folders}
    warnings += [
        f"photos in {name_below(root.path, part.path)}/ count as `{class_name(folder)}`, though "
        f"`{class_name(part)}` is a class too"
        for folder in folders
        for part in folder.folders
        if class_name(part) in names
    ]
    return layout_of("image-folder", names, candidates, [*rejected, *beside], ignored, warnings)


def _classes_with_splits(root: Folder, folders: Sequence[Folder]) -> Layout:
    """``<class>/<split>/*``."""
    candidates, (rejected, ignored) = [], strays(root, root)
    for folder in folders:
        more, notes = strays(root, folder)
        rejected += more
        ignored += notes
        for part in folder.folders:
            found, left = _class_folder(root, folder, part, split_of(part.name))
            candidates += found
            rejected += left
    names = {class_name(folder) for folder in folders}
    return layout_of("image-folder-with-splits", names, candidates, rejected, ignored)


def _shared_names(folders: Sequence[Folder]) -> list[str]:
    """Names of folders that lie below several of ``folders``."""
    counts = Counter(class_name(part) for folder in folders for part in folder.folders)
    return sorted(name for name, count in counts.items() if count > 1)


def _check_not_splits(root: Folder, folders: Sequence[Folder], shared: Sequence[str]) -> str:
    """Return a warning where folders that hold equal folders count as classes.

    Raises:
        AtlasError: some are named like splits, but not as any that is known.
    """
    like = [folder for folder in folders if SPLIT_LIKE.search(folder.name.lower())]
    held = ", ".join(f"{name}/" for name in shared[:4]) + (", ..." if len(shared) > 4 else "")
    if like:
        raise AtlasError(
            f"{root.path}: {_listed(like)} with {held} in it may be meant as a split, but none of that name is known: "
            f"give it one of these ({KNOWN_SPLITS})"
        )
    return (
        f"photos in {held} count as parts of the classes {_listed(folders)}; if those are splits, name them train, val "
        "and test"
    )


def _splits(root: Folder, splits: Sequence[Folder]) -> Layout:
    meanings = Counter(split_of(folder.name) for folder in splits)
    twice = [folder for folder in splits if meanings[split_of(folder.name)] > 1]
    if twice:
        raise AtlasError(
            f"{root.path} has several folders for the split {split_of(twice[0].name)} ({_listed(twice)}): "
            "keep one of them"
        )
    candidates: list[Candidate] = []
    rejected, ignored = strays(root, root)
    for split in splits:
        more, notes = strays(root, split)
        rejected += more
        ignored += notes
        for folder in split.folders:
            found, left = _class_folder(root, folder, folder, split_of(split.name))
            candidates += found
            rejected += left
    names = {class_name(folder) for split in splits for folder in split.folders}
    return layout_of("image-folder-with-splits", names, candidates, rejected, ignored)


def _homework(root: Folder, splits: Sequence[Folder]) -> Layout:
    candidates, (rejected, ignored) = [], strays(root, root)
    for folder in splits:
        for path in folder.files:
            match = HOMEWORK_NAME.fullmatch(path.stem)
            image_id = name_below(root.path, path)
            if match:
                candidates.append(Candidate(path, image_id, match[1], split_of(folder.name)))
            else:
                rejected.append(Rejected(image_id, "its name is not {label}_{id}, with a number as label", "odd-name"))
    if not candidates:
        raise AtlasError(
            f"{root.path} has split folders that hold neither class folders nor files named {{label}}_{{id}}.jpg: "
            f"{EXPECTED}"
        )
    layout = layout_of("homework", {candidate.class_name for candidate in candidates}, candidates, rejected, ignored)
    return replace(layout, classes=tuple(sorted(layout.classes, key=lambda name: (int(name), name))))


def layout_of(
    kind: str,
    classes: Iterable[str],
    candidates: Iterable[Candidate],
    rejected: Iterable[Rejected],
    ignored: Iterable[str],
    warnings: Sequence[str] = (),
) -> Layout:
    """A layout with its classes and files in order, and a warning where class names are nearly the same."""
    ordered = tuple(sorted(candidates, key=lambda candidate: candidate.image_id))
    near = [
        f"the classes {' and '.join(f'`{name}`' for name in names)} differ only in letter case or spaces"
        for names in near_names(classes)
    ]
    return Layout(
        kind,
        tuple(sorted(classes)),
        ordered,
        tuple(sorted(rejected, key=lambda item: item.file)),
        ignored=tuple(sorted(ignored)),
        warnings=(*warnings, *near),
    )


def _class_folder(root: Folder, owner: Folder, folder: Folder, split: str) -> tuple[list[Candidate], list[Rejected]]:
    """Every file of a class, at any depth; a folder that is named like a photo is told."""
    candidates, rejected = [], []
    for part in folder.below():
        if part is not folder and looks_like_photo(part.path):
            rejected.append(Rejected(name_below(root.path, part.path), "a folder, not a photo", "not-a-file"))
        for path in part.files:
            candidates.append(Candidate(path, name_below(root.path, path), class_name(owner), split))
    return candidates, rejected


def _is_nested(folder: Folder) -> bool:
    """Whether most of its photos lie in folders below it, as in a split."""
    return 2 * len(_photos(folder.files)) < len(_photos(folder.all_files()))


def _photos(paths: Sequence[Path]) -> list[Path]:
    """Files that may be photos, in formats that are read here or not."""
    return [path for path in paths if path.suffix.lower() not in NOTES]


def described(folder: Folder) -> str:
    """What lies in a folder, in words: how many files of which kinds, and the names of its folders."""
    parts = []
    if folder.files:
        kinds = sorted({path.suffix.lower() or "no extension" for path in folder.files})
        parts.append(f"{len(folder.files)} files ({', '.join(kinds[:5])})")
    if folder.folders:
        empty = "" if any(child.files for child in folder.folders) else " without files"
        parts.append(f"{len(folder.folders)} folders{empty} ({_listed(folder.folders)})")
    return " and ".join(parts)


def _listed(folders: Sequence[Folder]) -> str:
    return ", ".join(f"{readable(folder.name)}/" for folder in folders[:5]) + (", ..." if len(folders) > 5 else "")
