"""Which layout a folder of photos has, found by looking, and the photos it lists.

1. Image folder: ``<class>/*``, ``<split>/<class>/*`` or ``<class>/<split>/*``; photos may lie deeper.
2. The homework's: ``{train,val}/{label}_{id}.jpg``.
3. Oxford-IIIT Pet as published: ``images/``, ``annotations/{trainval,test}.txt``, ``annotations/trimaps/``.
4. A table: ``labels.csv`` (or .tsv, .parquet) with the columns path and label, and maybe split and group.

Masks are optional: ``masks/<stem>.png`` or ``masks/<path of the photo below the folder>.png``, or the published
trimaps.
"""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from vit_atlas.data.candidates import Candidate, Layout
from vit_atlas.data.class_folders import EXPECTED, class_folder_layout, described, looks_like_photo
from vit_atlas.data.label_table import find_table, table_layout
from vit_atlas.data.oxford import is_oxford, oxford_layout
from vit_atlas.data.photos import open_photo
from vit_atlas.data.tree import Folder, Tree, name_below, read_tree
from vit_atlas.errors import AtlasError

MASKS = "masks"

COLOURS_OF_A_PHOTO = 257
"""Colours from which on a picture is no mask: those have fewer, of greys at most 256."""


def find_layout(root: Path) -> Layout:
    """Look at ``root`` and list its photos, sorted by image id.

    Raises:
        AtlasError: the folder is missing or empty, or has none of the layouts; the message says what was found. Or a
            folder in it cannot be listed.
    """
    if not root.is_dir():
        raise AtlasError(f"{root} is not a folder: put photos there, or run `vit-atlas data stickers` for the sample")
    try:
        tree = read_tree(root)
        return _find_layout(tree)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        raise AtlasError(f"{root} cannot be listed ({error.strerror}{place}): correct its permissions") from None


def _find_layout(tree: Tree) -> Layout:
    root = tree.root
    if not root.files and not root.folders:
        raise AtlasError(f"{root.path} is empty: {EXPECTED}")
    masks = next((folder for folder in root.folders if folder.name == MASKS and not _is_class(folder)), None)
    folders = [folder for folder in root.folders if folder is not masks]
    by_name = {folder.name: folder for folder in folders}
    table = find_table(root)
    if table:
        files = [*root.files, *(path for folder in folders for path in folder.all_files())]
        layout = table_layout(root, table, files)
    elif is_oxford(by_name):
        layout = oxford_layout(root, by_name)
    elif not folders:
        raise AtlasError(f"{root.path} has no layout known here (it holds {described(root)}): {EXPECTED}")
    else:
        layout = class_folder_layout(root, folders)
    return _with_masks(tree, layout, masks)


def _is_class(folder: Folder) -> bool:
    """Whether a folder called masks holds photos, of people who wear them for instance: most pictures have colours."""
    if folder.folders:
        return False
    photos = [path for path in folder.files if looks_like_photo(path)]
    return 2 * sum(_is_colourful(path) for path in islice(photos, 0, None, max(1, len(photos) // 9))) > min(
        len(photos), 9
    )


def _is_colourful(path: Path) -> bool:
    try:
        pixels = np.asarray(open_photo(path))
    except AtlasError:
        return False
    step = max(1, min(pixels.shape[:2]) // 64)
    return len(np.unique(pixels[::step, ::step].reshape(-1, 3), axis=0)) >= COLOURS_OF_A_PHOTO


def _with_masks(tree: Tree, layout: Layout, masks: Folder | None) -> Layout:
    """Give every candidate without a mask its file below ``masks/``; a bare stem counts only where one photo has it."""
    root = tree.root.path
    files = masks.all_files() if masks else []
    known = {path.relative_to(root / MASKS).as_posix(): path for path in files}
    stems = Counter(candidate.path.stem for candidate in layout.candidates)
    candidates = [_with_mask(candidate, known, stems[candidate.path.stem] == 1) for candidate in layout.candidates]
    used = {candidate.mask for candidate in candidates}
    return replace(
        layout,
        candidates=tuple(sorted(candidates, key=lambda candidate: candidate.image_id)),
        rejected=tuple(sorted((*layout.rejected, *tree.rejected), key=lambda item: item.file)),
        unused_masks=tuple(sorted(name_below(root, path) for path in files if path not in used)),
        ignored=tuple(sorted((*layout.ignored, *tree.ignored))),
    )


def _with_mask(candidate: Candidate, known: dict[str, Path], unique: bool) -> Candidate:
    if candidate.mask is not None:
        return candidate
    names = [Path(candidate.image_id).with_suffix(".png").as_posix()]
    if unique:
        names.append(f"{candidate.path.stem}.png")
    for name in names:
        if name in known:
            return replace(candidate, mask=known[name], mask_kind="binary")
    return candidate
