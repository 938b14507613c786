"""Decoding every photo once: what it holds, what was converted, and why it was left out."""

import hashlib
import multiprocessing
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from vit_atlas.data.layouts import Candidate
from vit_atlas.data.photos import PhotoError, PhotoFacts, facts, open_mask, open_photo, opened, read_bytes
from vit_atlas.errors import AtlasError

SMALL_JOB = 200
"""With fewer photos than this, starting worker processes takes longer than it saves."""

CHUNK = 16
"""Photos handed to a worker at a time."""

PREVIEW = (32, 32)
"""JPEGs are decoded at the smallest scale above this size, down to an eighth: the whole file is read and checked,
without the cost of full-size pixels."""


NO_FACTS = PhotoFacts(0, 0, ())


@dataclass(frozen=True)
class Inspection:
    """One candidate after decoding.

    ``reason`` says why it cannot serve, empty where it can. ``preview`` is a hash of its pixels at reduced size:
    photos with equal ``preview`` may be the same picture in different files. ``mask_reason`` says why its mask was
    dropped.
    """

    candidate: Candidate
    reason: str = ""
    sha256: str = ""
    preview: str = ""
    facts: PhotoFacts = NO_FACTS
    mask_reason: str = ""


def inspect_all(candidates: tuple[Candidate, ...], max_pixels: int) -> list[Inspection]:
    """Inspect every candidate, on all cores where there are many, with a progress bar; results in the order given.

    Raises:
        AtlasError: a worker process died, as it does when memory runs out.
    """
    bar = partial(tqdm, total=len(candidates), desc="checking photos", unit="photo")
    task = partial(inspect, max_pixels=max_pixels)
    workers = min(_cores(), len(candidates) // SMALL_JOB + 1)
    if workers == 1:
        return list(bar(map(task, candidates)))
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(_start_method())) as pool:
            return list(bar(pool.map(task, candidates, chunksize=CHUNK)))
    except BrokenProcessPool:
        raise AtlasError(
            "a process that decodes photos died, most likely for want of memory: "
            f"lower data.max_pixels in params.yaml (now {max_pixels})"
        ) from None


def inspect(candidate: Candidate, max_pixels: int) -> Inspection:
    """Read and decode one photo and its mask."""
    try:
        _check_name(candidate.path)
        content = read_bytes(candidate.path)
        with opened(candidate.path, max_pixels, content) as image:
            found = facts(image, candidate.path)
            image.draft("RGB", PREVIEW)
            preview = _preview(image)
    except PhotoError as error:
        return Inspection(candidate, reason=str(error))
    sha256 = hashlib.sha256(content).hexdigest()
    return Inspection(candidate, "", sha256, preview, found, _mask_reason(candidate, found))


def same_pictures(inspections: list[Inspection]) -> list[list[Inspection]]:
    """Groups of two or more usable photos that are one picture: the same bytes, or the same pixels in different files.

    Sorted by image id, groups and members alike.
    """
    by_preview: dict[str, list[Inspection]] = defaultdict(list)
    for item in inspections:
        by_preview[item.preview].append(item)
    groups = (group for alike in by_preview.values() if len(alike) > 1 for group in _by_pixels(alike))
    return sorted(groups, key=lambda group: group[0].candidate.image_id)


def _by_pixels(alike: list[Inspection]) -> Iterator[list[Inspection]]:
    """Split photos of one preview by their full pixels, opening one file for each hash."""
    pixels: dict[str, str] = {}
    for item in alike:
        if item.sha256 not in pixels:
            pixels[item.sha256] = _pixel_hash(open_photo(item.candidate.path))
    groups: dict[str, list[Inspection]] = defaultdict(list)
    for item in sorted(alike, key=lambda item: item.candidate.image_id):
        groups[pixels[item.sha256]].append(item)
    yield from (group for group in groups.values() if len(group) > 1)


def _check_name(path: Path) -> None:
    try:
        path.as_posix().encode("utf-8")
    except UnicodeEncodeError:
        raise PhotoError("its name is not valid UTF-8: rename it") from None


def _preview(image: Image.Image) -> str:
    """Decode ``image`` to its end and hash what came out."""
    size = image.size
    image.load()
    return _pixel_hash(image.convert("RGB") if image.mode != "RGB" else image, size)


def _pixel_hash(image: Image.Image, size: tuple[int, int] | None = None) -> str:
    digest = hashlib.sha256(f"{size or image.size}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def _mask_reason(candidate: Candidate, found: PhotoFacts) -> str:
    if candidate.mask is None:
        return ""
    try:
        mask = open_mask(candidate.mask, candidate.mask_kind)
    except AtlasError as error:
        return str(error).removeprefix(f"{candidate.mask} ")
    if mask.shape != (found.height, found.width):
        return f"the mask has {mask.shape[1]}x{mask.shape[0]} pixels, the photo {found.width}x{found.height}"
    return "" if np.any(mask == 1) else "the mask marks no object"


def _start_method() -> str:
    """Forking starts workers at once, but is safe only from a process without threads (and not on macOS)."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
