"""Decoding every photo once: what it holds, what was converted, and why it was left out."""

import hashlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import xxhash
from PIL import Image
from tqdm import tqdm

from vit_atlas.data.candidates import Candidate
from vit_atlas.data.mask_values import open_mask
from vit_atlas.data.perceptual import perceptual_hash
from vit_atlas.data.photos import LARGEST_PHOTO, PhotoFacts, check_sums, decode, open_file, opened
from vit_atlas.data.pixels import PhotoError
from vit_atlas.data.remembered import Inspection, Remembered
from vit_atlas.errors import AtlasError

SMALL_JOB = 200
"""With fewer photos than this, starting worker processes takes longer than it saves."""

CHUNK = 16
"""Photos handed to a worker at a time."""

BAND = 4_000_000
"""Pixels that are hashed at a time, so that those of a large photo are not copied as a whole."""


def inspect_all(candidates: tuple[Candidate, ...], max_pixels: int, cache: Path | None = None) -> list[Inspection]:
    """Inspect every candidate, on all cores where there are many, with a progress bar; results in the order given.

    With a ``cache`` folder, files that an earlier run has decoded and that have not changed since are not decoded
    again, and what this run decodes is kept there, also when it is interrupted.

    Raises:
        AtlasError: a worker process died, as it does when memory runs out.
    """
    with closing(Remembered(cache, max_pixels)) as remembered:
        states = [remembered.state(candidate) for candidate in candidates]
        found = remembered.recall(candidates, states)
        new = [index for index, item in enumerate(found) if item is None]
        bar = partial(tqdm, total=len(found), initial=len(found) - len(new), desc="checking photos", unit="photo")
        # The workers come before the bar, which starts a thread: see _start_method.
        with _inspections([candidates[index] for index in new], max_pixels) as decoded, bar() as shown:
            for index, item in zip(new, decoded, strict=True):
                # A worker sends back a copy of the candidate, which would double what is held.
                found[index] = replace(item, candidate=candidates[index])
                remembered.keep(states[index], item)
                shown.update()
    return [item for item in found if item is not None]


def inspect(candidate: Candidate, max_pixels: int) -> Inspection:
    """Read and decode one photo and its mask."""
    try:
        _check_name(candidate.path)
        with opened(candidate.path, max_pixels) as image:
            if min(image.size) < 2:
                raise PhotoError(f"{image.width}x{image.height} pixels show nothing", "too-small")
            is_png = image.format == "PNG"
            upright, found = decode(image, candidate.path)
            pixels, phash = _pixel_hash(upright), perceptual_hash(upright)
        if is_png:
            check_sums(candidate.path)
        sha256 = _sha256(candidate.path, max_pixels)
    except PhotoError as error:
        return Inspection(candidate, str(error), error.kind)
    return Inspection(candidate, "", "", sha256, pixels, phash, found, *_mask_findings(candidate, found))


@contextmanager
def _inspections(candidates: list[Candidate], max_pixels: int) -> Iterator[Iterator[Inspection]]:
    """Yield the inspections of ``candidates`` in their order, made by one process a core where that pays."""
    task = partial(inspect, max_pixels=max_pixels)
    workers = min(_cores(), len(candidates) // SMALL_JOB + 1)
    if workers == 1:
        yield map(task, candidates)
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(_start_method()))
    try:
        yield pool.map(task, candidates, chunksize=CHUNK)
    except BrokenProcessPool:
        raise AtlasError(
            "a process that decodes photos died, most likely for want of memory: "
            f"lower data.max_pixels in params.yaml (now {max_pixels})"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _check_name(path: Path) -> None:
    try:
        path.as_posix().encode("utf-8")
    except UnicodeEncodeError:
        raise PhotoError("its name is not valid UTF-8: rename it", "name-not-utf8") from None
    if "\r" in path.as_posix():
        raise PhotoError("its name holds a carriage return, which tables do not keep: rename it", "odd-name")


def _pixel_hash(image: Image.Image) -> str:
    """128 bits that two photos share if their pixels are equal; a cryptographic hash of a 500x375 JPEG's takes more
    than a third of the time of decoding it."""
    width, height = image.size
    digest = xxhash.xxh3_128(f"{image.size}".encode())
    rows = max(1, BAND // width)
    if height <= rows:
        digest.update(image.tobytes())
        return digest.hexdigest()
    for top in range(0, height, rows):
        digest.update(image.crop((0, top, width, min(top + rows, height))).tobytes())
    return digest.hexdigest()


def _mask_findings(candidate: Candidate, found: PhotoFacts) -> tuple[str, str]:
    """Why the mask cannot be used, empty where it can, and the hash of its bytes."""
    if candidate.mask is None:
        return "", ""
    try:
        mask = open_mask(candidate.mask, candidate.mask_kind, (found.width, found.height))
        check_sums(candidate.mask)
        sha256 = _sha256(candidate.mask, LARGEST_PHOTO)
    except (AtlasError, PhotoError) as error:
        return str(error).removeprefix(f"{candidate.mask} "), ""
    if np.all(mask == 1):
        return "the mask marks the whole photo", ""
    return ("", sha256) if np.any(mask == 1) else ("the mask marks no object", "")


def _sha256(path: Path, max_pixels: int) -> str:
    with open_file(path, max_pixels) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _start_method() -> str:
    """Forking starts workers at once, but is safe only from a process without threads (and not on macOS)."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
