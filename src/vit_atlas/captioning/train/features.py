"""Feature maps of many photos, computed once and kept in one memory-mapped file."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import transformers
from tqdm import tqdm

from vit_atlas.captioning.model.backbones import Backbone
from vit_atlas.code_hash import code_hash
from vit_atlas.data.photos import open_photo
from vit_atlas.io.files import atomic_file, require_free_space, reserve, telling_full_disk
from vit_atlas.models.classifier import autocast, device

BATCH = 32


def features_key(paths: Sequence[Path], description: Any, backbone: Backbone, bfloat16: bool) -> str:
    """Hash of all that the features of ``paths`` depend on.

    That is the photos' bytes and order, the backbone's settings, weights, preprocessing and precision, the code of this
    module and all behind it, and the libraries' versions.

    Args:
        paths: photos.
        description: the backbone's settings; its text counts.
        backbone: what computes the features.
        bfloat16: whether it does so in mixed precision.
    """
    versions = [library.__version__ for library in (torch, transformers, PIL)]
    digest = hashlib.sha256(
        repr((description, versions, code_hash(__name__), bfloat16)).encode() + backbone.fingerprint()
    )
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def cached_features(paths: Sequence[Path], backbone: Backbone, folder: Path, key: str, bfloat16: bool) -> np.ndarray:
    """Features of ``paths`` as a memory map of shape (photos, channels, rows, columns), float16.

    They are computed once: a file that is whole is taken as it is, one whose computation was cut off is continued, and
    one that lost a part of itself is made again.

    Raises:
        AtlasError: a photo cannot be read, or the disk has no room.
    """
    whole = folder / f"{key}.npy"
    if whole.exists():
        with suppress(ValueError, EOFError):
            return np.load(whole, mmap_mode="r")
        whole.unlink()
    _compute(paths, backbone, folder, key, whole, bfloat16)
    return np.load(whole, mmap_mode="r")


def _compute(paths: Sequence[Path], backbone: Backbone, folder: Path, key: str, whole: Path, bfloat16: bool) -> None:
    shape = (len(paths), backbone.channels, *backbone.grid)
    partial, progress = folder / f"{key}.partial.npy", folder / f"{key}.done"
    done = int(progress.read_text()) if partial.exists() and progress.exists() else 0
    if not done:
        folder.mkdir(parents=True, exist_ok=True)
        size = int(np.prod(shape)) * 2
        require_free_space(folder, size, "keeping the photos' features", "set captioner.image_size to a smaller side")
        with telling_full_disk(partial):
            np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            reserve(partial, partial.stat().st_size)
    features = np.lib.format.open_memmap(partial, mode="r+")
    with tqdm(total=len(paths), initial=done, desc="features", unit="photo") as bar:
        for start in range(done, len(paths), BATCH):
            photos = [open_photo(path) for path in paths[start : start + BATCH]]
            with autocast(device(), bfloat16):
                features[start : start + len(photos)] = backbone(photos).float().cpu().numpy()
            features.flush()
            with atomic_file(progress) as temporary:
                temporary.write_text(str(start + len(photos)))
            bar.update(len(photos))
    del features
    partial.replace(whole)
    progress.unlink()
