"""Differences between kinds of words, with intervals: what the report's sentences about captions are judged by."""

from collections.abc import Sequence

import numpy as np

from vit_atlas.captioning.measure.word_maps import Tally

DIFFERENCES = {
    "noun_mass_over_gaussian": ("noun_mass", "noun_mass_gaussian"),
    "article_noun_over_others": ("article_noun_correlation", "other_neighbours_correlation"),
    "relation_over_noun_entropy": ("relation_entropy", "noun_entropy"),
    "relation_over_noun_lesser_mass": ("relation_lesser_mass", "noun_lesser_mass"),
}
"""Difference -> the two numbers of metrics/caption.json, the first less the second."""

SAMPLES = 2000
CHUNK = 100
"""Resamples drawn at a time."""


def difference_metrics(tallies: Sequence[Tally], seed: int = 0) -> dict[str, float | None]:
    """Every difference of :data:`DIFFERENCES` and its 95 % bootstrap interval, ``<name>_low`` and ``<name>_high``.

    Photos are drawn, not words, for the words of one caption are not independent of each other.

    Args:
        tallies: one a photo.
        seed: of the resampling.

    Returns:
        None where a number does not exist, or where no two photos have it.

    References:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals).
    """
    metrics: dict[str, float | None] = {}
    for name, (first, second) in DIFFERENCES.items():
        table = np.array([[*_sum(tally, first), *_sum(tally, second)] for tally in tallies]).reshape(-1, 4)
        table = table[table[:, [1, 3]].sum(axis=1) > 0]
        value = _difference(table.sum(axis=0, keepdims=True))
        low, high = _interval(table, seed) if len(table) > 1 and len(value) else (None, None)
        metrics |= {name: float(value[0]) if len(value) else None, f"{name}_low": low, f"{name}_high": high}
    return metrics


def _sum(tally: Tally, name: str) -> tuple[float, int]:
    values = tally.values.get(name, [])
    return sum(values), len(values)


def _difference(totals: np.ndarray) -> np.ndarray:
    """Difference of means of each row of ``totals`` (sum, count, sum, count); rows without a count are dropped."""
    known = totals[(totals[:, 1] > 0) & (totals[:, 3] > 0)]
    return known[:, 0] / known[:, 1] - known[:, 2] / known[:, 3]


def _interval(table: np.ndarray, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    even = np.full(len(table), 1 / len(table))
    found = []
    for _ in range(SAMPLES // CHUNK):
        drawn = generator.multinomial(len(table), even, size=CHUNK)
        found.append(_difference(drawn @ table))
    low, high = np.quantile(np.concatenate(found), [0.025, 0.975])
    return float(low), float(high)
