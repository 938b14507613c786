"""Which folders hold masks, and which mask belongs to which photo."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from vit_atlas.data.candidates import Candidate
from vit_atlas.data.photos import looks_like_photo, open_photo
from vit_atlas.data.tree import Folder, name_below
from vit_atlas.errors import AtlasError

MASKS = "masks"

COLOURS_OF_A_PHOTO = 257
"""Colours from which on a picture is no mask: those have fewer, of greys at most 256."""

LOOKED_AT = 9
"""Pictures of a folder called masks that are opened to tell whether it holds masks or photos."""


def take_mask_folders(root: Folder) -> list[Folder]:
    """Take the folders that hold masks out of the tree and return them.

    They are called masks, at the top or below classes and splits (``<class>/masks`` beside ``<class>/images``). One
    that holds photos, of people who wear masks for instance, stays.
    """
    taken = []
    for folder in list(root.below()):
        masks = [child for child in folder.folders if child.name == MASKS and not _holds_photos(child, folder is root)]
        folder.folders = [child for child in folder.folders if child not in masks]
        taken += masks
    return taken


def find_masks(root: Path, candidates: Iterable[Candidate], folders: Sequence[Folder]) -> list[Candidate]:
    """Give every candidate without a mask its own: by its path beside or below `images/`, or by its stem.

    A bare stem counts only where one photo has it, and only in `masks/` at the top.
    """
    by_path: dict[str, Path] = {}
    by_stem: dict[str, Path] = {}
    for folder in folders:
        above = PurePosixPath(name_below(root, folder.path)).parent
        for path in folder.all_files():
            below = PurePosixPath(name_below(folder.path, path))
            if below.suffix.lower() != ".png":
                continue
            for place in (above / below, above / "images" / below):
                by_path.setdefault(place.with_suffix("").as_posix(), path)
            if above == PurePosixPath("."):
                by_stem[below.with_suffix("").as_posix()] = path
    candidates = list(candidates)
    stems = Counter(candidate.path.stem for candidate in candidates)
    found = []
    for candidate in candidates:
        mask = by_path.get(PurePosixPath(candidate.image_id).with_suffix("").as_posix())
        if mask is None and stems[candidate.path.stem] == 1:
            mask = by_stem.get(candidate.path.stem)
        keeps = mask is None or candidate.mask is not None
        found.append(candidate if keeps else replace(candidate, mask=mask, mask_kind="binary"))
    return found


def _holds_photos(folder: Folder, at_the_top: bool) -> bool:
    """Whether most of a folder's pictures have the colours of photos."""
    if at_the_top and folder.folders:
        return False
    pictures = [path for path in folder.all_files() if looks_like_photo(path)]
    looked_at = pictures[:: max(1, len(pictures) // LOOKED_AT)]
    return 2 * sum(_is_colourful(path) for path in looked_at) > len(looked_at)


def _is_colourful(path: Path) -> bool:
    try:
        pixels = np.asarray(open_photo(path))
    except AtlasError:
        return False
    step = max(1, min(pixels.shape[:2]) // 64)
    return len(np.unique(pixels[::step, ::step].reshape(-1, 3), axis=0)) >= COLOURS_OF_A_PHOTO
