"""Which of three layouts a folder of photos has, found by looking, and the photos it lists.

1. Image folder: ``<class>/*`` or ``<split>/<class>/*``.
2. The homework's: ``{train,val}/{label}_{id}.jpg``.
3. Oxford-IIIT Pet as published: ``images/``, ``annotations/{trainval,test}.txt``, ``annotations/trimaps/``.

Masks are optional: ``masks/<stem>.png`` or ``masks/<path of the photo below the folder>.png``, or the published
trimaps. So a folder ``masks`` at the top is never a class.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vit_atlas.data.candidates import Candidate, Layout, Rejected
from vit_atlas.data.photos import EXTENSIONS, kind_of_file
from vit_atlas.errors import AtlasError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Names of split folders, in any case, and the split that each means."""

IGNORED_FILES = ("thumbs.db", "desktop.ini")
"""What file managers leave behind; hidden files are ignored too."""

MASKS = "masks"

IMAGE_EXTENSIONS = frozenset(extension for group in EXTENSIONS.values() for extension in group)

HOMEWORK_NAME = re.compile(r"(\d+)_.+", re.DOTALL)

OXFORD_NAME = re.compile(r"(.+)_\d+", re.DOTALL)

EXPECTED = (
    "expected <class>/*.jpg or <split>/<class>/*.jpg, {train,val}/{label}_{id}.jpg, "
    "or images/ with annotations/trainval.txt as Oxford-IIIT Pet publishes them"
)


def find_layout(root: Path) -> Layout:
    """Look at ``root`` and list its photos, sorted by image id.

    Raises:
        AtlasError: the folder is missing or empty, or has none of the three layouts; the message says what was found.
            Or a folder in it cannot be listed.
    """
    try:
        return _find_layout(root)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        raise AtlasError(f"{root} cannot be listed ({error.strerror}{place}): correct its permissions") from None


def _find_layout(root: Path) -> Layout:
    if not root.is_dir():
        raise AtlasError(f"{root} is not a folder: put photos there, or run `vit-atlas data stickers` for the sample")
    entries = visible(root)
    if not entries:
        raise AtlasError(f"{root} is empty: {EXPECTED}")
    folders = [entry for entry in entries if entry.is_dir() and entry.name != MASKS]
    if {"images", "annotations"} <= {folder.name for folder in folders}:
        return _oxford(root)
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if split_folders and len(split_folders) < len(folders):
        others = ", ".join(f"{folder.name}/" for folder in folders if folder not in split_folders)
        raise AtlasError(f"{root} mixes split folders with others ({others}): {EXPECTED}")
    if split_folders:
        return _with_splits(root, split_folders)
    if any(any(entry.is_file() for entry in visible(folder)) for folder in folders):
        return _image_folder(root, folders)
    raise AtlasError(f"{root} has no layout known here (it holds {_described(entries)}): {EXPECTED}")


def visible(folder: Path) -> list[Path]:
    """Entries of ``folder`` sorted by name, without hidden ones and those that file managers leave behind."""
    kept = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted((entry for entry in kept if entry.name.lower() not in IGNORED_FILES), key=lambda entry: entry.name)


def name_below(root: Path, path: Path) -> str:
    """``path`` relative to ``root`` with forward slashes; bytes that are no UTF-8 appear as escapes."""
    return path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode("utf-8")


def _image_folder(root: Path, folders: list[Path]) -> Layout:
    candidates, rejected = [], list(_strays(root, root))
    for folder in folders:
        found, left = _class_folder(root, folder, "")
        candidates += found
        rejected += left
    return _finished(root, "image-folder", [folder.name for folder in folders], candidates, rejected)


def _with_splits(root: Path, split_folders: list[Path]) -> Layout:
    """Split folders with class folders in them, or the homework's flat ones."""
    meanings = Counter(SPLIT_NAMES[folder.name.lower()] for folder in split_folders)
    twice = [split for split, count in meanings.items() if count > 1]
    if twice:
        names = ", ".join(f"{folder.name}/" for folder in split_folders if SPLIT_NAMES[folder.name.lower()] in twice)
        raise AtlasError(f"{root} has several folders for the split {twice[0]} ({names}): keep one of them")
    if not any(entry.is_dir() for folder in split_folders for entry in visible(folder)):
        return _homework(root, split_folders)
    candidates: list[Candidate] = []
    rejected = list(_strays(root, root))
    classes: set[str] = set()
    for split_folder in split_folders:
        rejected += _strays(root, split_folder)
        for folder in (entry for entry in visible(split_folder) if entry.is_dir()):
            classes.add(folder.name)
            found, left = _class_folder(root, folder, SPLIT_NAMES[split_folder.name.lower()])
            candidates += found
            rejected += left
    return _finished(root, "image-folder-with-splits", sorted(classes), candidates, rejected)


def _homework(root: Path, split_folders: list[Path]) -> Layout:
    candidates, rejected = [], list(_strays(root, root))
    for folder in split_folders:
        for path in visible(folder):
            match = HOMEWORK_NAME.fullmatch(path.stem)
            image_id = name_below(root, path)
            if match:
                name = str(int(match[1]))
                candidates.append(Candidate(path, image_id, name, SPLIT_NAMES[folder.name.lower()]))
            else:
                rejected.append(Rejected(image_id, "its name is not {label}_{id}, with a number as label", "odd-name"))
    if not candidates:
        raise AtlasError(
            f"{root} has split folders that hold neither class folders nor files named {{label}}_{{id}}.jpg: {EXPECTED}"
        )
    classes = sorted({candidate.class_name for candidate in candidates}, key=int)
    return _finished(root, "homework", classes, candidates, rejected)


def _oxford(root: Path) -> Layout:
    """Oxford-IIIT Pet: the lists say what is a photo, of which class, in which split."""
    lists = {split: root / "annotations" / f"{name}.txt" for split, name in (("train", "trainval"), ("test", "test"))}
    if not lists["train"].is_file():
        raise AtlasError(f"{lists['train']} does not exist: {EXPECTED}")
    files: dict[str, list[Path]] = {}
    for path in visible(root / "images"):
        files.setdefault(path.stem, []).append(path)
    candidates, rejected = [], []
    labels: dict[str, int] = {}
    listed: dict[str, str] = {}
    for split, table in lists.items():
        for stem, class_id in _oxford_rows(table):
            if stem in listed:
                reason = f"listed twice ({listed[stem]} and {table.name})"
                rejected.append(Rejected(f"images/{stem}.jpg", reason, "listed-twice"))
                continue
            listed[stem] = table.name
            name = _oxford_class(stem, class_id, labels, table)
            if stem not in files:
                reason = f"listed in annotations/{table.name}, but missing"
                rejected.append(Rejected(f"images/{stem}.jpg", reason, "missing"))
                continue
            path = _preferred(files.pop(stem))
            candidates.append(_oxford_candidate(root, path, name, split))
    unlisted = sorted(path for paths in files.values() for path in paths)
    rejected += [Rejected(name_below(root, path), _unlisted_reason(path), "not-listed") for path in unlisted]
    classes = sorted(labels, key=lambda name: labels[name])
    return _finished(root, "oxford-pets", classes, candidates, rejected)


def _oxford_rows(table: Path) -> Iterator[tuple[str, int]]:
    """Rows ``stem class_id species breed_id`` of a published list, without comments.

    Raises:
        AtlasError: a line is not of that form; the message gives its number.
    """
    if not table.is_file():
        return
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or not words[1].isdigit():
            raise AtlasError(f"{table} line {number} is {line[:60]!r}: expected `name class_id ...` as published")
        yield words[0], int(words[1])


def _oxford_class(stem: str, class_id: int, labels: dict[str, int], table: Path) -> str:
    match = OXFORD_NAME.fullmatch(stem)
    name = match[1] if match else stem
    if labels.setdefault(name, class_id) != class_id:
        raise AtlasError(
            f"{table} gives {stem} the class {class_id}, but other {name} photos have class {labels[name]}"
        )
    return name


def _oxford_candidate(root: Path, path: Path, name: str, split: str) -> Candidate:
    trimap = root / "annotations" / "trimaps" / f"{path.stem}.png"
    candidate = Candidate(path, name_below(root, path), name, split)
    return replace(candidate, mask=trimap, mask_kind="trimap") if trimap.is_file() else candidate


def _unlisted_reason(path: Path) -> str:
    """Why a file beside the lists is left out; if its name also lies about its format, that is said too."""
    form = kind_of_file(path)
    honest = path.suffix.lower().lstrip(".") in EXTENSIONS.get(form, ())
    return "in no list of annotations/" + ("" if honest else f", and it is {f'a {form}' if form else 'no image'}")


def _preferred(paths: list[Path]) -> Path:
    """Of several files with one stem (Abyssinian_100.jpg and .mat), the one with an image's extension."""
    return min(paths, key=lambda path: (path.suffix.lower().lstrip(".") not in IMAGE_EXTENSIONS, path.name))


def _class_folder(root: Path, folder: Path, split: str) -> tuple[list[Candidate], list[Rejected]]:
    candidates, rejected = [], []
    for path in visible(folder):
        if not path.is_dir():
            candidates.append(Candidate(path, name_below(root, path), folder.name, split))
            continue
        below = sorted(deep for deep in path.rglob("*") if deep.is_file() and not deep.name.startswith("."))
        if path.suffix.lower().lstrip(".") in IMAGE_EXTENSIONS:
            rejected.append(Rejected(name_below(root, path), "a folder, not a photo", "not-a-file"))
        reason = f"in a folder below the class folder {folder.name}/"
        rejected += [Rejected(name_below(root, deep), reason, "below-class") for deep in below]
    return candidates, rejected


def _strays(root: Path, folder: Path) -> Iterator[Rejected]:
    """Photos that lie beside class folders; other files there (notes, tables) are nobody's photo and no news."""
    for path in visible(folder):
        if path.is_file() and path.suffix.lower().lstrip(".") in IMAGE_EXTENSIONS:
            yield Rejected(name_below(root, path), "outside every class folder", "outside-classes")


def _described(entries: list[Path]) -> str:
    """What lies in a folder, in words: how many files of which kinds, and the names of its folders."""
    files = [entry for entry in entries if entry.is_file()]
    folders = [entry for entry in entries if entry.is_dir()]
    parts = []
    if files:
        kinds = sorted({file.suffix.lower() or "no extension" for file in files})
        parts.append(f"{len(files)} files ({', '.join(kinds[:5])})")
    if folders:
        shown = ", ".join(f"{folder.name}/" for folder in folders[:5])
        empty = " without files" if not any(entry.is_file() for folder in folders for entry in visible(folder)) else ""
        parts.append(f"{len(folders)} folders{empty} ({shown})")
    return " and ".join(parts)


def _finished(
    root: Path, kind: str, classes: list[str], candidates: list[Candidate], rejected: list[Rejected]
) -> Layout:
    with_masks = sorted(_find_masks(root, candidates), key=lambda candidate: candidate.image_id)
    used = {candidate.mask for candidate in with_masks}
    files = sorted(path for path in (root / MASKS).rglob("*") if path.is_file() and not path.name.startswith("."))
    unused = tuple(name_below(root, path) for path in files if path not in used)
    ordered = tuple(sorted(rejected, key=lambda item: item.file))
    return Layout(kind, tuple(classes), tuple(with_masks), ordered, unused)


def _find_masks(root: Path, candidates: list[Candidate]) -> list[Candidate]:
    """Give every candidate without a mask its file below ``masks/``; a bare stem counts only where one photo has it."""
    folder = root / MASKS
    if not folder.is_dir():
        return candidates
    known = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    stems = Counter(candidate.path.stem for candidate in candidates)
    return [_with_mask(folder, candidate, known, stems[candidate.path.stem] == 1) for candidate in candidates]


def _with_mask(folder: Path, candidate: Candidate, known: set[str], unique: bool) -> Candidate:
    if candidate.mask is not None:
        return candidate
    names = [Path(candidate.image_id).with_suffix(".png").as_posix()]
    if unique:
        names.append(f"{candidate.path.stem}.png")
    for name in names:
        if name in known:
            return replace(candidate, mask=folder / name, mask_kind="binary")
    return candidate
