"""Which folders hold masks, and which mask belongs to which photo."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from vit_atlas.data.candidates import Candidate
from vit_atlas.data.photos import looks_like_photo, open_photo
from vit_atlas.data.tree import Folder, name_below
from vit_atlas.errors import AtlasError

MASKS = ("masks", "mask")

MASK_FOLDERS = frozenset(
    (
        *MASKS,
        *("annotation", "annotations", "segmentation", "segmentations", "segmentationclass", "segmentationobject"),
        *("groundtruth", "gt", "trimaps", "segmentationclasspng", "segmentationclassraw"),
    )
)
"""Names of folders that labelling tools and data sets fill with masks, in lower case without spaces, _ and -."""

MASK_FOLDER = re.compile(r"labels?|(.*?)(?:masks?|segmentations?)(?:png|raw)?", re.DOTALL)
"""Other such names, which count where most pictures are called as photos elsewhere are. What stands in front must be a
folder beside it or one of :data:`MASK_WORDS`: with_mask and face_mask are classes."""

MASK_WORDS = frozenset(("binary", "instance", "object", "semantic", "image", "images", "label", "png", "train", "test"))

MASK_SUFFIXES = frozenset((".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg", ".webp"))

MASK_STEM = re.compile(
    r"(.+?)[ _.-]?[_.-](?:masks?|seg|segmentation|gt|groundtruth|labels?|trimap|annotation)", re.IGNORECASE | re.DOTALL
)
"""What a mask is called beside its photo: IMG_1_mask, IMG_1.seg."""

MASK_PREFIX = re.compile(r"(?:masks?|seg|gt|labels?)[_-](.+)", re.IGNORECASE | re.DOTALL)
"""Or mask_IMG_1."""

COLOURS_OF_A_PHOTO = 257
"""Colours from which on a picture is no mask: those have fewer, of greys at most 256."""

SAMPLE_SIZE = 9
"""Pictures of a folder called masks that are opened to tell whether it holds masks or photos."""


def take_mask_folders(root: Folder) -> list[Folder]:
    """Take the folders that hold masks out of the tree and return them.

    They have a usual name (:data:`MASK_FOLDERS`) and lie at the top or below classes and splits (``<class>/masks``
    beside ``<class>/images``). One that holds photos, of people who wear masks for instance, stays.
    """
    taken = []
    for folder in list(root.below()):
        masks = [child for child in folder.folders if _holds_masks(child, root)]
        folder.folders = [child for child in folder.folders if child not in masks]
        taken += masks
    return taken


def find_masks(
    root: Path, candidates: Iterable[Candidate], folders: Sequence[Folder]
) -> tuple[list[Candidate], list[str]]:
    """Match masks to the candidates that have none.

    Returns the photos (a candidate that turns out to be a mask beside a photo is removed) and the sorted names of masks
    that no photo has.

    A mask has the name of its photo, in any letter case, with or without the photo's suffix and a usual ending such as
    ``_mask``. It lies at the same path below the folder of masks, with or without `images/`, or has the photo's class
    and stem, or its bare stem in a folder of masks at the top where one photo has that, or lies beside its photo and
    has the few colours of a mask.
    """
    candidates, beside = _beside(list(candidates))
    masks = [(name_below(root, path), path) for path in beside]
    bare: list[tuple[str, Path]] = []
    for folder in folders:
        above = PurePosixPath(name_below(root, folder.path)).parent
        for path in folder.all_files():
            if path.suffix.lower() in MASK_SUFFIXES:
                below = name_below(folder.path, path)
                masks += [((above / below).as_posix(), path), ((above / "images" / below).as_posix(), path)]
                bare += [(below, path)] * (above == PurePosixPath("."))
    by_path, by_stem = _index(masks), _index(bare)
    stems = Counter(_folded(candidate.path.stem) for candidate in candidates)
    paths = Counter(_folded(_stem(candidate.image_id)) for candidate in candidates)
    tails = Counter(_folded(_stem(_tail(candidate.image_id))) for candidate in candidates)
    found = []
    for candidate in candidates:
        mask = _chosen(by_path, candidate, candidate.image_id, paths)
        if mask is None:
            mask = _chosen(by_stem, candidate, _tail(candidate.image_id), tails)
        if mask is None and stems[_folded(candidate.path.stem)] == 1:
            mask = _chosen(by_stem, candidate, candidate.path.name, stems)
        keeps = mask is None or candidate.mask is not None
        found.append(candidate if keeps else replace(candidate, mask=mask, mask_kind="binary"))
    used = {candidate.mask for candidate in found}
    files = [*beside, *(path for folder in folders for path in folder.all_files())]
    return found, sorted(name_below(root, path) for path in files if path not in used)


def _index(masks: Sequence[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Masks by the folded names of the photos that they may belong to; exact names come before those with endings."""
    index: dict[str, list[Path]] = {}
    for base_of in (_stem, _base):
        found = defaultdict(list)
        for name, path in masks:
            if base := base_of(name):
                found[_folded(base)].append(path)
        index = {**found, **index}
    return index


def _chosen(index: dict[str, list[Path]], candidate: Candidate, name: str, photos: Mapping[str, int]) -> Path | None:
    """The mask of a photo; where several photos or masks differ in letter case only, the one of exactly its name."""
    masks = index.get(_folded(name)) or index.get(_folded(_stem(name)), [])
    exact = [path for path in masks if path.stem == candidate.path.stem or path.stem == candidate.path.name]
    if len(masks) == 1 and photos[_folded(_stem(name))] == 1:
        return masks[0]
    return min(exact, key=lambda path: (path.suffix.lower() != ".png", path.name), default=None)


def _beside(candidates: list[Candidate]) -> tuple[list[Candidate], list[Path]]:
    """Photos, and masks that lie beside theirs."""
    names = {_folded(_stem(candidate.image_id)) for candidate in candidates}
    masks = {
        candidate.path
        for candidate in candidates
        if (base := _base(candidate.image_id)) and _folded(base) in names
        if looks_like_photo(candidate.path) and not _is_colourful(candidate.path)
    }
    photos = [candidate for candidate in candidates if candidate.path not in masks]
    return photos, sorted(masks)


def _tail(name: str) -> str:
    """A photo's name with its class alone in front: masks need not lie in splits as photos do."""
    return "/".join(PurePosixPath(name).parts[-2:])


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _base(name: str) -> str:
    """The photo's name that a mask's name ends in a usual way; empty where it does not."""
    path = PurePosixPath(name)
    match = MASK_STEM.fullmatch(path.stem) or MASK_PREFIX.fullmatch(path.stem)
    return path.with_name(match[1]).as_posix() if match else ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _holds_masks(folder: Folder, root: Folder) -> bool:
    name = _plain(folder.name)
    if name in MASKS:
        return not _holds_photos(folder, folder in root.folders)
    published = any(path.name == "trainval.txt" for path in folder.files)  # Oxford-IIIT Pet's lists
    pictures = any(looks_like_photo(path) for path in folder.all_files())
    usual = name in MASK_FOLDERS or (_may_hold_masks(name, root) and _named_as_photos(folder, root))
    return usual and pictures and not published and not _holds_photos(folder, at_the_top=False)


def _may_hold_masks(name: str, root: Folder) -> bool:
    match = MASK_FOLDER.fullmatch(name)
    if match is None or not match[1]:
        return match is not None
    return match[1] in MASK_WORDS or any(_plain(folder.name) == match[1] for folder in root.below())


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())


def _named_as_photos(folder: Folder, root: Folder) -> bool:
    """Whether most pictures of a folder have the names of pictures elsewhere below ``root``, but for usual endings."""
    own = [path for path in folder.all_files() if looks_like_photo(path)]
    inside = set(own)
    photos = {_folded(path.stem) for path in root.all_files() if looks_like_photo(path) and path not in inside}
    named = sum(bool({_folded(path.stem), _folded(_base(path.name).rsplit(".", 1)[0])} & photos) for path in own)
    return 2 * named > len(own)


def _holds_photos(folder: Folder, at_the_top: bool) -> bool:
    """Whether most of a folder's pictures have the colours of photos."""
    if at_the_top and folder.folders:
        return False
    pictures = [path for path in folder.all_files() if looks_like_photo(path)]
    sampled = pictures[:: max(1, len(pictures) // SAMPLE_SIZE)]
    return 2 * sum(_is_colourful(path) for path in sampled) > len(sampled)


def _is_colourful(path: Path) -> bool:
    try:
        pixels = np.asarray(open_photo(path))
    except AtlasError:
        return False
    step = max(1, min(pixels.shape[:2]) // 64)
    return len(np.unique(pixels[::step, ::step].reshape(-1, 3), axis=0)) >= COLOURS_OF_A_PHOTO
