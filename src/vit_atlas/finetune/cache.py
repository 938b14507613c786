"""The frozen trunk's output, computed once and kept in memory-mapped files while a training runs."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import require_free_space, reserve
from vit_atlas.paths import TRUNK_CACHE
from vit_atlas.training.datasets import AugmentedPhotos, CachedTokens, PlainPhotos
from vit_atlas.training.processes import is_first, share_of, wait_for_all

REMEDY = "free some, lower finetune.cached_views, or set finetune.trainable_blocks to all (slower, no cache)"
HALF = np.dtype(np.float16)
Files = dict[str, tuple[int, ...]]
"""Shapes of arrays by file name."""


@contextmanager
def cached(
    trunk: Any,
    train: AugmentedPhotos,
    val: PlainPhotos,
    *,
    views: int,
    shape: tuple[int, int],
    batch_size: int,
    workers: int,
    device: torch.device,
    autocast: torch.dtype | None,
) -> Iterator[tuple[CachedTokens, CachedTokens]]:
    """Run the trunk over all views of the training photos and over the validation photos; remove the files at the end.

    Several processes share the work and the files, so the project's folder is one that all of them see.

    Activations are kept in half precision (float16): 11 significant bits, an error far below that of the photo's own
    eight bits a channel.

    Args:
        trunk: base model whose ``last_hidden_state`` is kept, as :func:`vit_atlas.models.trunk.split` gives it.
        train: training photos.
        val: validation photos.
        views: augmented versions of each training photo.
        shape: (tokens, dim) of one photo's hidden states.
        batch_size: photos a forward pass.
        workers: processes that load photos.
        device: where ``trunk`` is.
        autocast: precision of the forward pass; None leaves it at the model's.

    Yields:
        The training photos' and the validation photos' hidden states.

    Raises:
        AtlasError: the disk has no room, or an activation is too large for half precision.
    """
    draws = [(view, index) for view in range(views) for index in range(len(train))]
    files: Files = {"train.f16": (len(draws), *shape), "val.f16": (len(val), *shape)}
    if is_first():
        _make_files(files)
    wait_for_all()
    try:
        total = len(share_of(len(draws))) + len(share_of(len(val)))
        with tqdm(total=total, desc="frozen blocks", unit="photo", smoothing=0.1, disable=not is_first()) as progress:
            run = _Runner(trunk.eval(), batch_size, workers, device, autocast, progress)
            run(train, draws, _opened("train.f16", files))
            run(val, list(range(len(val))), _opened("val.f16", files))
        wait_for_all()
        yield (
            CachedTokens(_opened("train.f16", files).reshape(views, len(train), *shape), train.labels),
            CachedTokens(_opened("val.f16", files)[None], val.labels),
        )
    finally:
        if is_first():
            shutil.rmtree(TRUNK_CACHE, ignore_errors=True)


class _Runner:
    """Feeds photos through the trunk into a file; of several processes, each does its part."""

    def __init__(
        self,
        trunk: Any,
        batch_size: int,
        workers: int,
        device: torch.device,
        autocast: torch.dtype | None,
        progress: tqdm,
    ) -> None:
        self._trunk = trunk
        self._loading: dict[str, Any] = {"batch_size": batch_size, "num_workers": workers}
        self._device = device
        self._autocast = autocast
        self._progress = progress

    def __call__(self, photos: Dataset, draws: list[Any], tokens: np.memmap) -> None:
        share = share_of(len(draws))
        start = share.start
        for batch in DataLoader(photos, sampler=draws[share.start : share.stop], **self._loading):
            hidden = self._forward(batch["pixel_values"])
            tokens[start : start + len(hidden)] = hidden.numpy()
            start += len(hidden)
            self._progress.update(len(hidden))
        tokens.flush()

    @torch.inference_mode()
    def _forward(self, pixels: Tensor) -> Tensor:
        kind, precision = self._device.type, self._autocast or torch.float32
        with torch.autocast(kind, dtype=precision, enabled=self._autocast is not None):
            hidden = self._trunk(pixels.to(self._device)).last_hidden_state
        half = hidden.to(torch.float16).cpu()
        if not half.isfinite().all():
            raise AtlasError(
                "an activation of the frozen blocks is too large for the trunk cache's half precision: "
                "set finetune.trainable_blocks to all, which needs no cache"
            )
        return half


def _make_files(files: Files) -> None:
    """Make the files, and take their room on the disk now: running out of it later would kill the process."""
    shutil.rmtree(TRUNK_CACHE, ignore_errors=True)  # Left behind only by a run that was killed.
    sizes = {name: int(np.prod(shape)) * HALF.itemsize for name, shape in files.items()}
    photos = sum(shape[0] for shape in files.values())
    require_free_space(TRUNK_CACHE, sum(sizes.values()), f"the trunk cache ({photos} photos and views)", REMEDY)
    TRUNK_CACHE.mkdir(parents=True)
    try:
        for name, size in sizes.items():
            reserve(TRUNK_CACHE / name, size)
    except OSError as error:
        shutil.rmtree(TRUNK_CACHE, ignore_errors=True)
        raise AtlasError(f"no room for the trunk cache in {TRUNK_CACHE} ({error.strerror}): {REMEDY}") from None


def _opened(name: str, files: Files) -> np.memmap:
    return np.memmap(TRUNK_CACHE / name, dtype=HALF, mode="r+", shape=files[name])
