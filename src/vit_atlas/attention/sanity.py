"""Whether a map depends on what the model learned, and whether it stays when the photo hardly changes.

Sanity: the same map of the same photo and class, made after parts of the model were spoiled. A method that draws the
same picture with a random head explains no class, and one that does so with random last blocks draws the photo, not the
model. Stability: the same map of the photo moved by one patch (and the map moved back), and of the photo with noise.
All four are Spearman's rank correlation of the two maps over patches: 1 is the same order of patches, 0 another one.

References:
    Adebayo et al. 2018, Sanity Checks for Saliency Maps, https://arxiv.org/abs/1810.03292
    Alvarez-Melis and Jaakkola 2018, On the Robustness of Interpretability Methods, https://arxiv.org/abs/1806.08049
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from vit_atlas.attention.collect import PhotoMaps, collect
from vit_atlas.attention.maps import MapOptions
from vit_atlas.attention.methods import SANITY, sanity_of
from vit_atlas.data.manifest import Manifest
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.trunk import blocks, head_of

Array = np.ndarray

LAST = 4
"""Random last blocks are one in so many of all, and at least one."""

NOISE = 0.1
"""Standard deviation of the noise, where pixels as the model takes them have one of about 1."""

COLUMNS = ("image_id", "method", *SANITY)


def sanity_table(
    classifier: Classifier, photos: Manifest, plain: PhotoMaps, options: MapOptions, seed: int
) -> pd.DataFrame:
    """Compare the maps of photos with those of a spoiled model and of photos that hardly changed.

    Args:
        classifier: the model; its weights are changed for a while, and put back.
        photos: to draw maps of.
        plain: their maps, and the classes that they explain.
        options: layer and head, see :func:`vit_atlas.attention.maps.make_maps`.
        seed: of the spoiled weights and of the noise.

    Returns:
        One row a photo and method: image_id, method, and a rank correlation for each of
        :data:`vit_atlas.attention.methods.SANITY`, NaN where a map is even, and for ``sanity_head`` where the method
        explains no class, for then it does not ask the head.

    Raises:
        AtlasError: a photo cannot be opened, or the model's attention cannot be recorded.
    """
    names, count = list(plain.maps), len(blocks(classifier.model)[1])
    head = head_of(classifier.model)
    last = [*list(blocks(classifier.model)[1])[-max(1, count // LAST) :], head]

    def again(change: Callable[[Tensor], Tensor] | None, name: str) -> dict[str, Array]:
        return collect(classifier, photos, names, options, f"Maps again, {name}", plain.predictions, change).maps

    with spoiled([head], seed):
        random_head = again(None, "random head")
    with spoiled(last, seed):
        random_blocks = again(None, "random last blocks")
    shifted = again(lambda pixels: moved(pixels, classifier.layout.patch), "photos moved")
    noisy = again(lambda pixels: pixels + _noise(pixels, seed), "photos with noise")
    rows: list[tuple[object, ...]] = []
    for place, image_id in enumerate(photos.image_ids):
        for name, maps in plain.maps.items():
            own = maps[place]
            said = {
                "sanity_head": rank_correlation(own, random_head[name][place]),
                "sanity_blocks": rank_correlation(own, random_blocks[name][place]),
                "stable_shift": rank_correlation(own[:-1, :-1], shifted[name][place][1:, 1:]),
                "stable_noise": rank_correlation(own, noisy[name][place]),
            }
            rows.append((image_id, name, *(said[kind] if kind in sanity_of(name) else np.nan for kind in SANITY)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@contextmanager
def spoiled(parts: Iterable[nn.Module], seed: int) -> Iterator[None]:
    """Shuffle the values within every parameter of ``parts`` for the length of the block.

    What was learned is gone, and the size of the weights stays what it was, for every family alike.
    """
    chance = torch.Generator().manual_seed(seed)
    before: list[tuple[nn.Parameter, Tensor]] = []
    try:
        with torch.no_grad():
            for parameter in (parameter for part in parts for parameter in part.parameters()):
                before.append((parameter, parameter.detach().clone()))
                order = torch.randperm(parameter.numel(), generator=chance).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
        yield
    finally:
        with torch.no_grad():
            for parameter, values in reversed(before):
                parameter.copy_(values)


def moved(pixels: Tensor, patch: tuple[int, int]) -> Tensor:
    """Move photos (B, 3, height, width) one patch to the right and down; what comes in repeats the edge."""
    rows, columns = patch
    return functional.pad(pixels, (columns, 0, rows, 0), mode="replicate")[..., :-rows, :-columns]


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's rank correlation of two maps (rows, columns); NaN where one of them is even."""
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one.ravel(), other.ravel()).statistic)


def _noise(pixels: Tensor, seed: int) -> Tensor:
    """The same noise (1, 3, height, width) for every photo."""
    generator = torch.Generator().manual_seed(seed)
    return NOISE * torch.randn((1, *pixels.shape[1:]), generator=generator).to(pixels.device)
