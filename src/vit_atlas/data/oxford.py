"""Oxford-IIIT Pet as published: the lists in annotations/ say what is a photo, of which class, in which split."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vit_atlas.data.candidates import Candidate, Layout, Rejected
from vit_atlas.data.class_folders import EXPECTED, layout_of
from vit_atlas.data.photos import EXTENSIONS, kind_of_file, looks_like_photo
from vit_atlas.data.tree import Folder, name_below
from vit_atlas.errors import AtlasError

NAME = re.compile(r"(.+)_\d+", re.DOTALL)


def is_oxford(folders: dict[str, Folder]) -> bool:
    """Whether the folders of a root are those of the data set: images/, and annotations/ without photos of its own."""
    lists = folders.get("annotations")
    return "images" in folders and lists is not None and not any(looks_like_photo(path) for path in lists.files)


def oxford_layout(root: Folder, folders: dict[str, Folder]) -> Layout:
    """List the photos that the lists name.

    Raises:
        AtlasError: trainval.txt is missing, a line of a list is not as published, or a class has two numbers.
    """
    annotations = root.path / "annotations"
    lists = {split: annotations / f"{name}.txt" for split, name in (("train", "trainval"), ("test", "test"))}
    if not lists["train"].is_file():
        raise AtlasError(f"{lists['train']} does not exist: {EXPECTED}")
    files: dict[str, list[Path]] = {}
    for path in folders["images"].all_files():
        files.setdefault(path.stem, []).append(path)
    candidates, rejected = [], []
    labels: dict[str, int] = {}
    listed: dict[str, str] = {}
    for split, table in lists.items():
        for stem, class_id in _rows(table):
            if stem in listed:
                reason = f"listed twice ({listed[stem]} and {table.name})"
                rejected.append(Rejected(f"images/{stem}.jpg", reason, "listed-twice"))
                continue
            listed[stem] = table.name
            name = _class(stem, class_id, labels, table)
            if stem not in files:
                reason = f"listed in annotations/{table.name}, but missing"
                rejected.append(Rejected(f"images/{stem}.jpg", reason, "missing"))
                continue
            path = min(files[stem], key=lambda path: (not looks_like_photo(path), path.name))  # not Abyssinian_100.mat
            files[stem].remove(path)
            candidates.append(_candidate(root, path, name, split))
    beside = [path for stem, paths in files.items() for path in paths if stem in listed and not looks_like_photo(path)]
    unlisted = [path for paths in files.values() for path in paths if path not in set(beside)]
    rejected += [Rejected(name_below(root.path, path), _unlisted_reason(path), "not-listed") for path in unlisted]
    trimaps = {candidate.mask for candidate in candidates}
    elsewhere = [folder for name, folder in folders.items() if name not in ("images", "masks")]
    others = [
        *root.files,
        *beside,
        *(path for folder in elsewhere for path in folder.all_files() if path not in trimaps),
    ]
    layout = layout_of("oxford-pets", labels, candidates, rejected, [name_below(root.path, path) for path in others])
    return replace(layout, classes=tuple(sorted(labels, key=lambda name: labels[name])))


def _rows(table: Path) -> Iterator[tuple[str, int]]:
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
        if len(words) < 2 or not words[1].isdecimal():
            raise AtlasError(f"{table} line {number} is {line[:60]!r}: expected `name class_id ...` as published")
        yield words[0], int(words[1])


def _class(stem: str, class_id: int, labels: dict[str, int], table: Path) -> str:
    match = NAME.fullmatch(stem)
    name = match[1] if match else stem
    if labels.setdefault(name, class_id) != class_id:
        raise AtlasError(
            f"{table} gives {stem} the class {class_id}, but other {name} photos have class {labels[name]}"
        )
    return name


def _candidate(root: Folder, path: Path, name: str, split: str) -> Candidate:
    trimap = root.path / "annotations" / "trimaps" / f"{path.stem}.png"
    candidate = Candidate(path, name_below(root.path, path), name, split)
    return replace(candidate, mask=trimap, mask_kind="trimap") if trimap.is_file() else candidate


def _unlisted_reason(path: Path) -> str:
    """Why a file beside the lists is left out; if its name also lies about its format, that is said too."""
    form = kind_of_file(path)
    honest = path.suffix.lower().lstrip(".") in EXTENSIONS.get(form, ())
    return "in no list of annotations/" + ("" if honest else f", and it is {f'a {form}' if form else 'no image'}")
