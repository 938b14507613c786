"""The frozen trunk's output, computed once and kept in memory-mapped files while a training runs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vit_atlas.errors import AtlasError
from vit_atlas.files import require_free_space
from vit_atlas.paths import TRUNK_CACHE
from vit_atlas.training.datasets import AugmentedPhotos, CachedTokens, PlainPhotos

REMEDY = "free some, lower finetune.cached_views, or set finetune.trainable_blocks to all (slower, no cache)"
HALF = np.dtype(np.float16)


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
    count = views * len(train) + len(val)
    shutil.rmtree(TRUNK_CACHE, ignore_errors=True)  # Left behind only by a run that was killed.
    needed = count * shape[0] * shape[1] * HALF.itemsize
    require_free_space(TRUNK_CACHE, needed, f"the trunk cache ({count} photos and views)", REMEDY)
    TRUNK_CACHE.mkdir(parents=True)
    try:
        with tqdm(total=count, desc="frozen blocks", unit="photo", smoothing=0.1) as progress:
            run = _Runner(trunk.eval(), batch_size, workers, device, autocast, progress)
            draws = [(view, index) for view in range(views) for index in range(len(train))]
            train_tokens = run(train, draws, TRUNK_CACHE / "train.f16", shape)
            val_tokens = run(val, list(range(len(val))), TRUNK_CACHE / "val.f16", shape)
        yield (
            CachedTokens(train_tokens.reshape(views, len(train), *shape), train.labels),
            CachedTokens(val_tokens[None], val.labels),
        )
    finally:
        shutil.rmtree(TRUNK_CACHE, ignore_errors=True)


class _Runner:
    """Feeds photos through the trunk into a file."""

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

    def __call__(self, photos: Dataset, draws: list[Any], path: Path, shape: tuple[int, int]) -> np.memmap:
        tokens = _preallocated(path, (len(draws), *shape))
        start = 0
        for batch in DataLoader(photos, sampler=draws, **self._loading):
            hidden = self._forward(batch["pixel_values"])
            tokens[start : start + len(hidden)] = hidden.numpy()
            start += len(hidden)
            self._progress.update(len(hidden))
        return tokens

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


def _preallocated(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A memory-mapped array whose room on the disk is taken now: running out of it later would kill the process."""
    with path.open("wb") as file:
        size = int(np.prod(shape)) * HALF.itemsize
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise AtlasError(f"no room for the trunk cache in {path.parent} ({error.strerror}): {REMEDY}") from None
    return np.memmap(path, dtype=HALF, mode="r+", shape=shape)
