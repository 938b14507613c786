"""Passing many photos through classifiers: logits of one, features of another, each photo decoded once."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.models.loading import Classifier


@dataclass(frozen=True)
class Outputs:
    """What the networks said: ``logits`` (photos, classes) and ``features`` (photos, width); a network left out gives
    an array of width 0."""

    logits: np.ndarray
    features: np.ndarray


def forward(
    finetuned: Classifier | None,
    pretrained: Classifier | None,
    paths: Sequence[str],
    batch_size: int,
    description: str,
) -> Outputs:
    """Pass photos through one or both classifiers, in order, with a progress bar named ``description``.

    Logits are those of ``finetuned``; features are what the head of ``pretrained`` would read (:func:`head_of`).
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    present = [item for item in (finetuned, pretrained) if item is not None]
    logits: list[np.ndarray] = []
    features: list[np.ndarray] = []
    for item in present:
        item.model.to(device)
    total = -(-len(paths) // batch_size)
    for batch in tqdm(_batches(paths, present, batch_size), description, total, unit="batch"):
        if finetuned is not None:
            with torch.inference_mode():
                output = finetuned.model(pixel_values=batch[0].to(device)).logits
            logits.append(output.float().cpu().numpy())
        if pretrained is not None:
            features.append(_head_input(pretrained.model, batch[-1].to(device)))
    empty = np.zeros((len(paths), 0), dtype=np.float32)
    return Outputs(np.concatenate(logits) if logits else empty, np.concatenate(features) if features else empty)


class _Photos(Dataset[tuple[torch.Tensor, ...]]):
    """Photos as each processor wants them; photos are decoded once, and prepared once where the processors agree."""

    def __init__(self, paths: Sequence[str], processors: Sequence[Any]) -> None:
        self._paths = paths
        first = processors[0]
        self._processors = [first, *(item for item in processors[1:] if item.to_dict() != first.to_dict())]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        photo = open_photo(self._paths[index])
        return tuple(item(photo, return_tensors="pt")["pixel_values"][0] for item in self._processors)


def _batches(paths: Sequence[str], classifiers: Sequence[Classifier], batch_size: int) -> Iterator[list[torch.Tensor]]:
    """Yield, a batch, one tensor (batch, 3, height, width) for each differing processor."""
    # Without a GPU the network takes all cores, and processes that decode would only get in its way.
    workers = min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0
    photos = _Photos(paths, [item.processor for item in classifiers])
    yield from DataLoader(photos, batch_size=batch_size, num_workers=workers)


def head_of(model: nn.Module) -> nn.Linear:
    """Find the classification head: the last linear layer with one output a class.

    Raises:
        AtlasError: the model has no such layer.
    """
    classes = int(getattr(model.config, "num_labels", 0))
    layers = [item for item in model.modules() if isinstance(item, nn.Linear) and item.out_features == classes]
    if not layers:
        name = type(model).__name__
        raise AtlasError(
            f"`model.name`: {name} has no linear head, so no linear probe: set `evaluate.linear_probe: false`"
        )
    return layers[-1]


def _head_input(model: nn.Module, pixels: torch.Tensor) -> np.ndarray:
    """Run ``model`` and return what its head read, shape (batch, width).

    That is the class token after the last norm for ViT, and the class token with the mean patch for DINOv2: whatever
    the model's own head is made for.
    """
    caught: list[torch.Tensor] = []
    hook = head_of(model).register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    try:
        with torch.inference_mode():
            model(pixel_values=pixels)
    finally:
        hook.remove()
    return caught[0].float().cpu().numpy()
