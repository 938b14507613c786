"""How similar the position embeddings of patches are, and whether near patches are similar.

References:
    Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, figure 7 (centre), https://arxiv.org/abs/2010.11929
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vit_atlas.errors import AtlasError
from vit_atlas.io.arrays import pack_cosines

Array = np.ndarray


def dot_products(embedding: Array) -> Array:
    """Dot product of every patch's position embedding with every other's.

    Args:
        embedding: (rows, columns, dimensions).

    Returns:
        float64 of shape (rows, columns, rows, columns): the first two axes name a patch, the last two its map.
    """
    rows, columns, dimensions = embedding.shape
    flat = embedding.reshape(-1, dimensions).astype(np.float64)
    return (flat @ flat.T).reshape(rows, columns, rows, columns)


def cosine_similarities(embedding: Array) -> Array:
    """Cosine similarity of every patch's position embedding with every other's; shapes as in :func:`dot_products`."""
    norms = np.linalg.norm(embedding.astype(np.float64), axis=-1, keepdims=True)
    return dot_products(embedding / np.maximum(norms, np.finfo(np.float64).tiny))


def grid_distances(rows: int, columns: int) -> Array:
    """Euclidean distance between all patches of a grid, in patches, shape (rows, columns, rows, columns)."""
    y, x = np.mgrid[:rows, :columns]
    return np.hypot(y[:, :, None, None] - y, x[:, :, None, None] - x)


def rank_correlation(similarity: Array) -> float:
    """Spearman's correlation of similarity with grid distance over all pairs of different patches.

    -1 means that a nearer patch is always a more similar one; 0 that distance says nothing. A grid of fewer than three
    patches, or one whose similarities are all equal, has no correlation: NaN.
    """
    rows, columns = similarity.shape[:2]
    above = np.triu_indices(rows * columns, k=1)
    # Ranks would order what differs by rounding error only, so that is made equal first.
    values = np.round(similarity.reshape(rows * columns, -1)[above] / np.abs(similarity).max(), 6)
    distances = grid_distances(rows, columns).reshape(rows * columns, -1)[above]
    if values.size == 0 or np.ptp(values) == 0 or np.ptp(distances) == 0:
        return float("nan")
    return float(stats.spearmanr(values, distances).statistic)


@dataclass(frozen=True)
class DistanceCurve:
    """Similarity by distance: one entry a whole number of patches."""

    distance: Array
    """Distance in patches, rounded."""
    mean: Array
    """Mean similarity of the pairs at that distance."""
    low: Array
    """Their 10th percentile."""
    high: Array
    """Their 90th percentile."""


def similarity_by_distance(similarity: Array) -> DistanceCurve:
    """Mean similarity of patches 1, 2, 3, ... patches apart, and its 10th to 90th percentile."""
    rows, columns = similarity.shape[:2]
    distance = np.rint(grid_distances(rows, columns)).astype(int).ravel()
    order = np.argsort(distance, kind="stable")
    steps, starts = np.unique(distance[order], return_index=True)
    groups = np.split(similarity.ravel()[order], starts[1:])
    pairs = [(step, group) for step, group in zip(steps, groups, strict=True) if step > 0]
    return DistanceCurve(
        distance=np.array([step for step, _ in pairs]),
        mean=np.array([group.mean() for _, group in pairs]),
        low=np.array([np.quantile(group, 0.1) for _, group in pairs]),
        high=np.array([np.quantile(group, 0.9) for _, group in pairs]),
    )


LONGEST = 24
"""Patches a side that a page can hold the similarities of."""


def sampled(grid: tuple[int, int]) -> tuple[int, tuple[slice, slice]]:
    """Of a grid with more than :data:`LONGEST` patches a side every ``step``-th: ``step``, and its rows and columns."""
    step = -(-max(grid) // LONGEST)
    rows, columns = (slice((side - 1) % step // 2, None, step) for side in grid)
    return step, (rows, columns)


def packed_similarities(before: Array, after: Array) -> dict[str, Array]:
    """What the atlas page shows of the cosine similarities ``before`` and ``after`` (rows, columns, rows, columns).

    Returns:
        ``before`` and ``after``: uint8 (rows, columns, rows, columns), :func:`sampled` of the ``grid``; and ``step``.
    """
    grid = before.shape[:2]
    step, some = sampled((grid[0], grid[1]))
    return {
        "before": pack_cosines(before[*some, *some]),
        "after": pack_cosines(after[*some, *some]),
        "grid": np.array(grid),
        "step": np.array(step),
    }


def packed_curves(curves: Mapping[str, DistanceCurve]) -> dict[str, Array]:
    """Curves by name as arrays ``curve_<name>_<distance|mean|low|high>``."""
    return {
        f"curve_{name}_{column}": np.asarray(values, float)
        for name, curve in curves.items()
        for column, values in vars(curve).items()
    }


MISSING = "missing"
"""The key of metrics/embeddings.json that says why there is no position embedding; absent where there is one."""


def without_table(reason: str) -> dict[str, str | None]:
    """The content of metrics/embeddings.json for a model that has no table of position embeddings."""
    one = np.ones((1, 1, 1))
    return {MISSING: reason, **dict.fromkeys(position_metrics(one, one))}


def position_metrics(before: Array, after: Array) -> dict[str, float | None]:
    """The numbers of metrics/embeddings.json from the embeddings (rows, columns, dimensions) before and after.

    ``rank_correlation_*`` is cosine similarity's with distance (-1: the nearer, the more similar),
    ``dot_rank_correlation_*`` the plain dot product's; ``mean_absolute_change`` is of the cosine similarities,
    ``relative_change`` the norm of what fine-tuning added over the norm of what was there; ``norm_spread_*`` the
    standard deviation of the patches' norms over their mean, which is what the dot product mixes in.

    Raises:
        AtlasError: the two grids differ.
    """
    if before.shape != after.shape:
        raise AtlasError(
            f"the pretrained model has a position grid of {before.shape[0]}x{before.shape[1]} and the fine-tuned one "
            f"of {after.shape[0]}x{after.shape[1]}: run `dvc repro finetune` with the present model settings first"
        )
    cosine = {"before": cosine_similarities(before), "after": cosine_similarities(after)}
    found: dict[str, float] = {}
    for when, embedding in (("before", before), ("after", after)):
        norms = np.linalg.norm(embedding, axis=-1)
        found[f"rank_correlation_{when}"] = rank_correlation(cosine[when])
        found[f"dot_rank_correlation_{when}"] = rank_correlation(dot_products(embedding))
        found[f"norm_spread_{when}"] = float(norms.std() / norms.mean())
    found["mean_absolute_change"] = float(np.abs(cosine["after"] - cosine["before"]).mean())
    found["relative_change"] = float(np.linalg.norm(after - before) / np.linalg.norm(before))
    return {key: value if np.isfinite(value) else None for key, value in found.items()}
