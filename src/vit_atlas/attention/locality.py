"""What distance on the photo means to a model, asked of every model, whatever tells it where a patch lies.

Three questions: are the tokens of close patches alike after the last block, how far does every head look, and, where a
bias by relative position is added to attention, what is it?

References:
    Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, figure 7 (right) and appendix D.7, mean attention distance,
    https://arxiv.org/abs/2010.11929
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.positions import grid_distances, rank_correlation, sampled
from vit_atlas.attention.recorder import LayerRecord
from vit_atlas.data.manifest import Manifest, Photo
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.geometry import TokenLayout

Array = np.ndarray

PER_PHOTO = (
    "similarity_neighbours",
    "similarity_others",
    "neighbours_over_others",
    "rank_correlation",
    "rank_correlation_between_photos",
)
"""Numbers of tokens, one a photo: mean cosine similarity of patches 1 patch apart, of those farther apart, the first
less the second; Spearman's correlation of similarity with distance, and that of the tokens of two photos."""


@dataclass(frozen=True)
class TokenSimilarity:
    """How alike the last patch tokens of P photos are: within a photo, and between a photo and the next one."""

    by_photo: dict[str, list[float]]
    """Numbers of metrics/embeddings.json, one a photo; NaN where it does not exist, none between photos where there is
    one photo only."""
    means: dict[str, Array]
    """``in one photo`` and ``between photos``: mean cosine similarity (rows, columns, rows, columns)."""


@dataclass(frozen=True)
class Locality:
    """What some photos say of a model."""

    photos: int
    tokens: TokenSimilarity
    distances: Array
    """(layers, heads) mean attention distance in patches."""
    even: float
    """What it is where attention is even."""
    bias: Array | None
    """(layers, heads, 2 rows - 1, 2 columns - 1) what is added to attention by relative position, the patch itself in
    the centre; None where nothing is."""

    def numbers(self) -> dict[str, object]:
        """What build/embeddings.json keeps; a list has one number a photo."""
        by_photo = self.tokens.by_photo.items()
        return {
            "photos": self.photos,
            **{name: [value if np.isfinite(value) else None for value in values] for name, values in by_photo},
            "attention_distance_first_layer": float(self.distances[0].mean()),
            "attention_distance_last_layer": float(self.distances[-1].mean()),
            "attention_distance_nearest_head": float(self.distances.min()),
            "attention_distance_farthest_head": float(self.distances.max()),
            "attention_distance_even": self.even,
        }


def some_photos(manifest: Manifest, most: int, layout: TokenLayout) -> list[Photo]:
    """At most ``most`` test photos, evenly spread by name; those smaller than a patch are left out."""
    photos = sorted(manifest.split("test"), key=lambda photo: photo.image_id)
    photos = [photo for photo in photos if photo.holds_patch(layout.patch)]
    places = np.linspace(0, len(photos) - 1, min(most, len(photos))).round().astype(int)
    return [photos[place] for place in places]


def measure_locality(classifier: Classifier, photos: Iterable[Image.Image]) -> Locality | None:
    """Measure a model on photos, each with one recorded pass; None without photos.

    Raises:
        AtlasError: its attention cannot be recorded.
    """
    layout = classifier.layout
    states: list[Array] = []
    distances: list[Array] = []
    bias: list[Array | None] = []
    for image in photos:
        trace = run_pass(classifier, classifier.pixel_values([image]), gradients=False)
        states.append(trace.hidden[-1][0, layout.prefix_tokens :].float().cpu().numpy().reshape(*layout.grid, -1))
        distances.append(np.stack([attention_distance(record, layout) for record in trace.records]))
        bias = bias or [relative_bias(record, layout) for record in trace.records]
    if not states:
        return None
    known = [one for one in bias if one is not None]
    return Locality(
        photos=len(states),
        tokens=token_similarity(states),
        distances=np.mean(distances, axis=0),
        even=float(grid_distances(*layout.grid).mean()),
        bias=np.stack(known) if len(known) == len(bias) else None,
    )


def token_similarity(photos: Sequence[Array]) -> TokenSimilarity:
    """Compare the patch tokens (rows, columns, dimensions) of each photo with each other and with those of the next.

    Tokens of two photos have no content in common, but what photos of one kind are composed like, and their places.
    """
    grid = photos[0].shape[:2]
    flat = [tokens.reshape(grid[0] * grid[1], -1) for tokens in photos]
    tiny = np.finfo(np.float32).tiny
    flat = [tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), tiny) for tokens in flat]
    distance = np.rint(grid_distances(*grid)).ravel()
    _, some = sampled(grid)
    numbers: dict[str, list[float]] = {f"token_{name}": [] for name in PER_PHOTO}
    means = {"in one photo": np.zeros((*grid, *grid))}
    if len(flat) > 1:
        means["between photos"] = np.zeros((*grid, *grid))
    for one, other in zip(flat, flat[1:] + flat[:1], strict=True):
        similarity = (one @ one.T).reshape(*grid, *grid)
        near, far = (_mean(similarity.ravel()[distance == 1]), _mean(similarity.ravel()[distance > 1]))
        correlation = rank_correlation(similarity[*some, *some])
        found = {"rank_correlation": correlation, "similarity_neighbours": near, "similarity_others": far}
        means["in one photo"] += similarity / len(flat)
        if len(flat) > 1:
            similarity = (one @ other.T).reshape(*grid, *grid)
            found["rank_correlation_between_photos"] = rank_correlation(similarity[*some, *some])
            means["between photos"] += similarity / len(flat)
        for name, value in (found | {"neighbours_over_others": near - far}).items():
            numbers[f"token_{name}"].append(value)
    return TokenSimilarity(numbers, means)


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def attention_distance(record: LayerRecord, layout: TokenLayout) -> Array:
    """Mean distance (heads,) in patches at which the patches of one photo look, weighted by their attention.

    Special tokens have no place: they are not asked, and what goes to them does not count.
    """
    prefix, patches = layout.prefix_tokens, layout.patches
    apart = torch.from_numpy(grid_distances(*layout.grid).reshape(patches, patches)).float().to(record.query.device)
    total = torch.zeros(record.query.shape[1], device=record.query.device, dtype=torch.float64)
    for part, rows in record.chunks():
        skipped = max(prefix - part.start, 0)
        looks = rows[0, :, skipped:, prefix:]
        far = (looks * apart[part.start + skipped - prefix : part.stop - prefix]).sum(dim=-1)
        total += (far / looks.sum(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)).double().sum(dim=-1)
    return (total / patches).cpu().numpy()


def relative_bias(record: LayerRecord, layout: TokenLayout) -> Array | None:
    """What is added to the logits of attention (heads, 2 rows - 1, 2 columns - 1) at every offset from a patch.

    Mean over all pairs of patches at that offset; None where nothing is added, or the same everywhere.
    """
    mask, prefix, (rows, columns) = record.mask, layout.prefix_tokens, layout.grid
    if mask is None or mask.dtype == torch.bool or mask.ndim != 4 or mask.shape[-2:] != (layout.tokens, layout.tokens):
        return None
    added = mask[0, :, prefix:, prefix:].double().cpu().numpy().reshape(len(mask[0]), -1)
    if not np.isfinite(added).all() or np.ptp(added) == 0:
        return None
    y, x = np.mgrid[:rows, :columns]
    down, right = y[None, None] - y[:, :, None, None], x[None, None] - x[:, :, None, None]
    places = ((down + rows - 1) * (2 * columns - 1) + right + columns - 1).ravel()
    count = np.bincount(places)
    sums = np.stack([np.bincount(places, weights=head) for head in added])
    return (sums / count).reshape(len(added), 2 * rows - 1, 2 * columns - 1)
