"""How well a map finds the object: scores against masks, with intervals.

All scores of a photo come from two histograms of the map's values, one over the object's pixels and one over the
background's, so that a thousand maps take seconds.

References:
    Zhang et al. 2016, Top-down Neural Attention by Excitation Backprop (pointing game), https://arxiv.org/abs/1608.00507
    Chefer, Gur and Wolf 2021, Transformer Interpretability Beyond Attention Visualization (segmentation protocol),
    https://arxiv.org/abs/2012.09838
    Bousselham et al. 2024, LeGrad (mIoU, average precision of maps), https://arxiv.org/abs/2404.03214
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from vit_atlas.attention.methods import LEVELS

Array = np.ndarray

SIDE = 224
"""Maps and masks are compared on at most this many pixels a side."""


@dataclass(frozen=True)
class PhotoScores:
    """Scores of M maps on one photo."""

    mass: Array
    """(M,) share of the map's sum that lies on the object, of what lies on labelled pixels."""
    pointing: Array
    """(M,) 1 if the map's highest labelled pixel is the object's; with ties, the share of them that is."""
    ap: Array
    """(M,) average precision of the map as a score for object pixels."""
    ap_both: Array
    """(M,) average precision over both classes, the background scored by 1 less the map."""
    cut: Array
    """(M, 4) shares of the photo's pixels, see :data:`vit_atlas.attention.methods.CUT`; unlabelled ones are in none."""
    iou: Array
    """(M, LEVELS) IoU of the object with the pixels at or above each threshold 0, 1/255, ..., 1."""


def comparison_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which maps and masks are compared: the model's input, at most :data:`SIDE` a side."""
    factor = min(1.0, SIDE / max(image_size))
    return max(1, round(image_size[0] * factor)), max(1, round(image_size[1] * factor))


def resize_mask(mask: Array, size: tuple[int, int]) -> Array:
    """A mask (uint8: 0 background, 1 object, 255 unlabelled) stretched to (height, width), nearest pixel."""
    height, width = size
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def object_share(mask: Array, grid: tuple[int, ...]) -> Array:
    """Share of object pixels in each patch (rows, columns) of a mask (height, width)."""
    rows, columns = grid
    area = Image.fromarray((mask == 1).astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(area)


def usable(mask: Array) -> bool:
    """Whether a mask can tell maps apart: it has pixels of the object and pixels of the background."""
    return bool((mask == 1).any() and (mask == 0).any())


def score_photo(maps: Array, mask: Array) -> PhotoScores:
    """Score ``maps`` (M, rows, columns) against ``mask`` (height, width); :func:`usable` must hold for the mask."""
    large = upsample(maps, mask.shape)
    labelled = mask.ravel() != 255
    inside = (mask.ravel() == 1)[labelled]
    values = large.reshape(len(maps), -1)[:, labelled]
    peak = values == values.max(axis=1, keepdims=True)
    total = values.sum(axis=1, dtype=np.float64)
    evenly = np.full(len(maps), inside.mean())
    mass = np.divide(values[:, inside].sum(axis=1, dtype=np.float64), total, out=evenly, where=total > 0)
    object_counts, other_counts = _histograms(_levels(values), inside)
    return PhotoScores(
        mass=mass,
        pointing=peak[:, inside].sum(axis=1) / peak.sum(axis=1),
        ap=_average_precision(object_counts, other_counts),
        # Flipped: the background is what a low value says, so a pixel of either class is one more of two decisions.
        ap_both=_average_precision(object_counts + other_counts[:, ::-1], other_counts + object_counts[:, ::-1]),
        cut=_cut(large.reshape(len(maps), -1), labelled, inside),
        iou=_iou(object_counts, other_counts),
    )


def upsample(maps: Array, size: Sequence[int]) -> Array:
    """Maps (M, rows, columns) stretched to (M, height, width), bilinear."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))[:, None]
    return functional.interpolate(tensor, size=tuple(size), mode="bilinear", align_corners=False)[:, 0].numpy()


def best_threshold(iou: Array) -> int:
    """Index of the threshold with the highest mean IoU over photos; ``iou`` is (photos, LEVELS)."""
    return int(iou.mean(axis=0).argmax())


def _levels(values: Array) -> Array:
    """Each map (M, pixels) scaled to 0..1 by its lowest and highest value, as threshold indices; even maps are 1."""
    low = values.min(axis=1, keepdims=True)
    span = values.max(axis=1, keepdims=True) - low
    scaled = np.divide(values - low, span, out=np.ones_like(values), where=span > 0)
    return np.floor(scaled * (LEVELS - 1) + 1e-6).astype(np.int64)


def _histograms(levels: Array, inside: Array) -> tuple[Array, Array]:
    """Pixels of the object and of the background at each level, each (M, LEVELS)."""
    count = len(levels)
    shifted = levels + np.arange(count)[:, None] * LEVELS
    both = [
        np.bincount(shifted[:, chosen].ravel(), minlength=count * LEVELS).reshape(count, LEVELS)
        for chosen in (inside, ~inside)
    ]
    return both[0], both[1]


def _from_the_top(counts: Array) -> Array:
    """Pixels at or above each level."""
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1]


def _cut(values: Array, labelled: Array, inside: Array) -> Array:
    """Cut each map (M, pixels) at its mean, and count (M, 4) as shares of all pixels."""
    chosen = (values > values.mean(axis=1, keepdims=True, dtype=np.float64))[:, labelled]
    parts = [chosen & inside, chosen & ~inside, ~chosen & inside, ~chosen & ~inside]
    return np.stack([part.sum(axis=1) for part in parts], axis=1) / values.shape[1]


def _iou(object_counts: Array, other_counts: Array) -> Array:
    hit, missed = _from_the_top(object_counts), _from_the_top(other_counts)
    return hit / (object_counts.sum(axis=1, keepdims=True) + missed)


def _average_precision(object_counts: Array, other_counts: Array) -> Array:
    """Sum of precision times the gain in recall, from the highest threshold to the lowest."""
    hit, missed = _from_the_top(object_counts), _from_the_top(other_counts)
    chosen = hit + missed
    precision = np.divide(hit, chosen, out=np.zeros(hit.shape), where=chosen > 0)
    return (precision * object_counts).sum(axis=1) / object_counts.sum(axis=1)
