"""Passing many photos through classifiers: logits of one, features of another, nothing computed twice."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vit_atlas.data.manifest import Photo
from vit_atlas.models.classifier import Classifier, autocast, device
from vit_atlas.models.geometry import Size
from vit_atlas.models.trunk import blocks, head_of, shared_blocks, split
from vit_atlas.processes import batches, shared


@dataclass(frozen=True)
class Outputs:
    """What the networks said about photos; a network that was left out gives an array of width 0."""

    logits: np.ndarray
    """(photos, classes)"""
    features: np.ndarray
    """(photos, width)"""


def forward(
    finetuned: Classifier | None,
    pretrained: Classifier | None,
    photos: Iterable[Photo],
    batch_size: int,
    description: str,
    bfloat16: bool = False,
) -> Outputs:
    """Pass photos through one or both classifiers, in order, with a progress bar named ``description``.

    Logits are those of ``finetuned``; features are what the head of ``pretrained`` reads. Photos are decoded once, and
    blocks that fine-tuning left as they were run once for both. With ``bfloat16`` they run in mixed precision. Several
    processes share the photos, and all get all.
    """
    target, order = device(), list(photos)
    for item in (finetuned, pretrained):
        if item is not None:
            item.to_device()
    networks = _Networks(finetuned, pretrained)
    loaded = _loaded(order, networks.processors, batch_size)
    with torch.inference_mode(), autocast(target, bfloat16):
        outputs = shared(
            lambda _: networks.run([item.to(target) for item in next(loaded)]), order, batch_size, description
        )
        parts = list(outputs) or [Outputs(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))]
    return Outputs(np.concatenate([one.logits for one in parts]), np.concatenate([one.features for one in parts]))


class _Networks:
    """One or two classifiers, with the blocks that both have in common cut off and run once."""

    def __init__(self, finetuned: Classifier | None, pretrained: Classifier | None) -> None:
        present = [item for item in (finetuned, pretrained) if item is not None]
        first, last = present[0].processor, present[-1].processor
        self.processors = [first] if last.to_dict() == first.to_dict() else [first, last]
        self._trunk: Any = None
        self._classifier = finetuned.model if finetuned else None
        self._features = pretrained.model if pretrained else None
        if finetuned and pretrained and len(self.processors) == 1:
            self._share(finetuned.model, pretrained.model, finetuned.image_size)

    def run(self, pixels: list[Tensor]) -> Outputs:
        """The outputs for one batch, which is given once for each differing processor."""
        inputs = [self._trunk(pixels[0]).last_hidden_state] if self._trunk is not None else pixels
        logits = features = np.zeros((len(pixels[0]), 0), np.float32)
        if self._classifier is not None:
            logits = self._classifier(pixel_values=inputs[0]).logits.float().cpu().numpy()
        if self._features is not None:
            features = _head_input(self._features, inputs[-1])
        return Outputs(logits, features)

    def _share(self, finetuned: Any, pretrained: Any, size: Size) -> None:
        trained = len(blocks(finetuned)[1]) - shared_blocks(finetuned, pretrained)
        if trained < len(blocks(finetuned)[1]):
            parts = split(finetuned, trained, size)
            self._trunk, self._classifier = parts.trunk, parts.tail
            self._features = split(pretrained, trained, size).tail


class _Photos(Dataset[tuple[Tensor, ...]]):
    """Photos as each processor wants them."""

    def __init__(self, photos: Sequence[Photo], processors: Sequence[Any]) -> None:
        self._photos = photos
        self._processors = processors

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        photo = self._photos[index].open()
        return tuple(item(photo, return_tensors="pt")["pixel_values"][0] for item in self._processors)


def _loaded(photos: Sequence[Photo], processors: Sequence[Any], batch_size: int) -> Iterator[list[Tensor]]:
    """Yield, for each of this process's batches, one tensor (batch, 3, height, width) for each processor."""
    # Without a GPU the network takes all cores, and processes that decode would only get in its way.
    workers = min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0
    own = [list(batch) for batch in batches(len(photos), batch_size)]
    yield from DataLoader(_Photos(photos, processors), batch_sampler=own, num_workers=workers)


def _head_input(model: nn.Module, inputs: Tensor) -> np.ndarray:
    """Run ``model`` and return what its head read, shape (batch, width).

    That is the class token after the last norm for ViT, and the class token with the mean patch for DINOv2: whatever
    the model's own head is made for.
    """
    caught: list[Tensor] = []
    hook = head_of(model).register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
    try:
        model(pixel_values=inputs)
    finally:
        hook.remove()
    return caught[0].float().cpu().numpy()
