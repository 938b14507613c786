"""Passing many photos through classifiers: logits of one, features of another, nothing computed twice."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.trunk import blocks, split


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
    paths: Sequence[str],
    batch_size: int,
    description: str,
) -> Outputs:
    """Pass photos through one or both classifiers, in order, with a progress bar named ``description``.

    Logits are those of ``finetuned``; features are what the head of ``pretrained`` reads (:func:`head_of`). Photos are
    decoded once, and blocks that fine-tuning left as they were run once for both.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for item in (finetuned, pretrained):
        if item is not None:
            item.model.to(device)
    networks = _Networks(finetuned, pretrained)
    logits: list[np.ndarray] = [np.zeros((0, 0), dtype=np.float32)]
    features: list[np.ndarray] = [np.zeros((0, 0), dtype=np.float32)]
    with torch.inference_mode(), tqdm(total=len(paths), desc=description, unit="photo") as progress:
        for pixels in _batches(paths, networks.processors, batch_size):
            networks.run([item.to(device) for item in pixels], logits, features)
            progress.update(len(pixels[0]))
    return Outputs(np.concatenate(logits[1:] or logits), np.concatenate(features[1:] or features))


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
            self._share(finetuned.model, pretrained.model)

    def run(self, pixels: list[Tensor], logits: list[np.ndarray], features: list[np.ndarray]) -> None:
        """Append the outputs for one batch, given once for each differing processor."""
        inputs = [self._trunk(pixels[0]).last_hidden_state] if self._trunk is not None else pixels
        if self._classifier is not None:
            logits.append(self._classifier(pixel_values=inputs[0]).logits.float().cpu().numpy())
        if self._features is not None:
            features.append(_head_input(self._features, inputs[-1]))

    def _share(self, finetuned: Any, pretrained: Any) -> None:
        trained = len(blocks(finetuned)[1]) - shared_blocks(finetuned, pretrained)
        if trained < len(blocks(finetuned)[1]):
            parts = split(finetuned, trained)
            self._trunk, self._classifier = parts.trunk, parts.tail
            self._features = split(pretrained, trained).tail


def shared_blocks(first: Any, second: Any) -> int:
    """Count the leading blocks with the same weights in both models; 0 where the embeddings already differ."""
    if first.config.model_type != second.config.model_type:
        return 0
    if not _equal(first.base_model.embeddings, second.base_model.embeddings):
        return 0
    pairs = list(zip(blocks(first)[1], blocks(second)[1], strict=False))
    return next((count for count, pair in enumerate(pairs) if not _equal(*pair)), len(pairs))


def _equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class _Photos(Dataset[tuple[Tensor, ...]]):
    """Photos as each processor wants them."""

    def __init__(self, paths: Sequence[str], processors: Sequence[Any]) -> None:
        self._paths = paths
        self._processors = processors

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        photo = open_photo(self._paths[index])
        return tuple(item(photo, return_tensors="pt")["pixel_values"][0] for item in self._processors)


def _batches(paths: Sequence[str], processors: Sequence[Any], batch_size: int) -> Iterator[list[Tensor]]:
    """Yield, a batch, one tensor (batch, 3, height, width) for each processor."""
    # Without a GPU the network takes all cores, and processes that decode would only get in its way.
    workers = min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0
    yield from DataLoader(_Photos(paths, processors), batch_size=batch_size, num_workers=workers)


def head_of(model: nn.Module) -> nn.Linear:
    """Find the classification head: the last linear layer with one output a class.

    Raises:
        AtlasError: the model has no such layer.
    """
    classes = int(getattr(model.config, "num_labels", 0))
    layers = [item for item in model.modules() if isinstance(item, nn.Linear) and item.out_features == classes]
    if not layers:
        name = type(model).__name__
        raise AtlasError(f"`model.name`: {name} has no linear head to probe: set `evaluate.linear_probe` to false")
    return layers[-1]


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
