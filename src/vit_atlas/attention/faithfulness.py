"""Whether a map shows what the model used: take the best patches away, or give nothing but them, and watch it.

References:
    Petsiuk, Das and Saenko 2018, RISE (deletion and insertion), https://arxiv.org/abs/1806.07421
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

from vit_atlas.attention.passes import Pass

Array = np.ndarray

BATCH = 16
"""Changed photos a forward pass."""


@dataclass(frozen=True)
class Curves:
    """What the model thinks of the class while patches go or come, for M maps."""

    shares: Array
    """(steps + 2,) share of patches changed: 0, ..., 1."""
    deletion: Array
    """(M, steps + 2) probability while the map's highest patches are taken away."""
    insertion: Array
    """(M, steps + 2) probability while the photo without detail gets the map's highest patches back."""

    @property
    def deletion_auc(self) -> Array:
        """(M,) area under the deletion curve: low where the map names the patches that matter."""
        return np.trapezoid(self.deletion, self.shares, axis=1)

    @property
    def insertion_auc(self) -> Array:
        """(M,) area under the insertion curve: high where the map names patches that are enough."""
        return np.trapezoid(self.insertion, self.shares, axis=1)


def blurred(pixels: Tensor) -> Tensor:
    """The photo (B, 3, height, width) without detail: a Gaussian of a sixteenth of the shorter side, which hides an
    object and, unlike grey patches, adds no edges that a photo would not have."""
    sigma = min(pixels.shape[-2:]) / 16
    kernel = 2 * int(2 * sigma) + 1
    limit = min(pixels.shape[-2:]) // 2 * 2 - 1
    side = min(kernel, limit)
    return gaussian_blur(pixels, [side, side], [sigma, sigma])


def filling(pixels: Tensor, name: str) -> Tensor:
    """What stands in the place of patches that are taken away: ``blur``, see :func:`blurred`, or ``mean`` colour."""
    return blurred(pixels) if name == "blur" else pixels.mean(dim=(-2, -1), keepdim=True).expand_as(pixels)


def deletion_insertion(
    trace: Pass,
    maps: Array,
    steps: int,
    fillings: Sequence[str] = ("blur",),
) -> Curves:
    """Deletion and insertion curves of ``maps`` (M, rows, columns) for the one photo of ``trace``.

    Args:
        trace: a pass over a batch of one.
        maps: patches are taken in the order of their value; equal ones in reading order.
        steps: points between none and all of the patches.
        fillings: see :func:`filling`; the curves are their mean, so that no one filling decides.
    """
    shares = np.linspace(0, 1, steps + 2)
    curves = [_curves(trace, maps, shares, filling(trace.pixels, name)) for name in fillings]
    deletion, insertion = (np.mean(values, axis=0) for values in zip(*curves, strict=True))
    return Curves(shares, deletion, insertion)


def _curves(trace: Pass, maps: Array, shares: Array, soft: Tensor) -> tuple[Array, Array]:
    """Deletion and insertion (M, steps + 2) where ``soft`` stands in the place of what is taken away."""
    steps = len(shares) - 2
    masks = torch.stack([_highest(values, share) for values in maps for share in shares[1:-1]]).to(trace.pixels.device)
    full = functional.interpolate(masks[:, None], size=trace.pixels.shape[-2:], mode="nearest")
    deleted = _probabilities(trace, trace.pixels, soft, full)
    inserted = _probabilities(trace, soft, trace.pixels, full)
    ends = _probabilities(trace, trace.pixels, soft, torch.stack([torch.zeros_like(full[0]), torch.ones_like(full[0])]))
    whole, none = (np.full((len(maps), 1), end) for end in ends)
    deletion = np.hstack([whole, deleted.reshape(len(maps), steps), none])
    return deletion, np.hstack([none, inserted.reshape(len(maps), steps), whole])


def _highest(values: Array, share: float) -> Tensor:
    """1 on the ``share`` of patches with the highest values, 0 elsewhere (rows, columns)."""
    count = round(values.size * share)
    order = np.argsort(-values.ravel(), kind="stable")
    mask = np.zeros(values.size, np.float32)
    mask[order[:count]] = 1
    return torch.from_numpy(mask.reshape(values.shape))


@torch.inference_mode()
def _probabilities(trace: Pass, kept: Tensor, put: Tensor, masks: Tensor) -> Array:
    """Probability of the explained class for ``kept`` with ``put`` where each mask is 1."""
    found = []
    for batch in masks.split(BATCH):
        logits = trace.classifier.model(kept * (1 - batch) + put * batch).logits
        found.append(logits.softmax(dim=-1)[:, int(trace.targets[0])])
    return torch.cat(found).float().cpu().numpy()
