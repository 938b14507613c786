"""Whether a map shows what the model used: take the best patches away, or give nothing but them, and watch it.

References:
    Petsiuk, Das and Saenko 2018, RISE (deletion and insertion), https://arxiv.org/abs/1806.07421
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

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


@dataclass(frozen=True)
class Question:
    """A photo, and maps of it to be tested."""

    pixels: Tensor
    """(1, 3, height, width), as the model takes them."""
    target: int
    """The class whose probability is watched."""
    maps: Array
    """(M, rows, columns): patches are taken in the order of their value; equal ones in reading order."""


def views(maps: int, steps: int, fillings: Sequence[str]) -> int:
    """Forward passes that a photo costs."""
    return 2 * len(fillings) * (maps * steps + 1)


def deletion_insertion(
    model: Any,
    questions: Iterable[Question],
    steps: int,
    fillings: Sequence[str] = ("blur",),
) -> Iterator[Curves]:
    """Deletion and insertion curves of photo after photo; a forward pass may hold changed photos of several.

    Args:
        model: a classifier.
        questions: photos with their maps; one is opened after the other.
        steps: points between none and all of the patches.
        fillings: see :func:`filling`; the curves are their mean, so that no one filling decides.
    """
    shares = np.linspace(0, 1, steps + 2)
    sizes: deque[tuple[int, int]] = deque()

    def changed() -> Iterator[tuple[Tensor, int]]:
        for question in questions:
            size = views(len(question.maps), steps, fillings)
            sizes.append((len(question.maps), size))
            yield from ((pixels, question.target) for pixels in _changed(question, shares[1:-1], fillings))

    answers = _probabilities(model, changed())
    # The first answer of a photo is there when its views were made, so its size is known.
    for first in answers:
        maps, size = sizes.popleft()
        found = np.array([first, *islice(answers, size - 1)]).reshape(len(fillings), -1).mean(axis=0)
        whole, none = (np.full((maps, 1), end) for end in found[:2])
        deleted, inserted = found[2:].reshape(2, maps, steps)
        yield Curves(shares, np.hstack([whole, deleted, none]), np.hstack([none, inserted, whole]))


def _changed(question: Question, shares: Array, fillings: Sequence[str]) -> Iterator[Tensor]:
    """All versions (3, height, width) of a photo: by filling the two ends, then deletions, then insertions."""
    photo = question.pixels[0]
    masks = torch.stack([_highest(values, share) for values in question.maps for share in shares])
    for name in fillings:
        soft = filling(question.pixels, name)[0]
        yield from (photo, soft)
        for kept, put in ((photo, soft), (soft, photo)):
            for mask in masks:
                full = functional.interpolate(mask[None, None], size=photo.shape[-2:], mode="nearest")[0]
                yield kept * (1 - full) + put * full


def _highest(values: Array, share: float) -> Tensor:
    """1 on the ``share`` of patches with the highest values, 0 elsewhere (rows, columns)."""
    count = round(values.size * share)
    order = np.argsort(-values.ravel(), kind="stable")
    mask = np.zeros(values.size, np.float32)
    mask[order[:count]] = 1
    return torch.from_numpy(mask.reshape(values.shape))


def _probabilities(model: Any, changed: Iterator[tuple[Tensor, int]]) -> Iterator[float]:
    """Probability of its class for each changed photo."""
    where = next(model.parameters()).device
    while some := list(islice(changed, BATCH)):
        pixels = torch.stack([pixels for pixels, _ in some]).to(where)
        targets = torch.tensor([target for _, target in some], device=where)
        with torch.inference_mode():
            found = model(pixels).logits.softmax(dim=-1).gather(1, targets[:, None])
        yield from found[:, 0].float().cpu().tolist()
