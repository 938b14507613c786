"""Is one result better than another, or is the difference chance? One test for every number of the table.

Both results are measured on the same photos. Where each was trained once, the two answers to a photo are swapped at
random (a permutation test): that is the chance of photos, for these two models. Where a result holds several trainings,
their spread is the chance of training and counts as well; where none does, one may be assumed. Numbers whose values by
photo are not to be had are compared by their two intervals as if the photos had been others: that sees less.

References:
    Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3.
    Satterthwaite 1946, An approximate distribution of estimates of variance components.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vit_atlas.estimates import Estimate, holm

Verdict = Literal["better", "worse", "differs", "no difference seen", "cannot be said"]
Array = np.ndarray

LEVEL = 0.05
"""Chance of any verdict but "no difference seen" in a table where nothing differs."""
POWER = 0.8
"""Chance at which a difference of the size that a row names would have been seen."""
PERMUTATIONS = 9999
AT_ONCE = 500
"""Permutations that are counted together: memory for these, however many photos there are."""
WIDTH = 2 * 1.959964
"""Standard errors in a 95 % interval."""


@dataclass(frozen=True)
class Measure:
    """One number of two results, by photo."""

    part: str
    """Name of the metrics file, without suffix."""
    name: str
    """The number's name in that file."""
    better: int
    """1 where more is better, -1 where less is, 0 where neither is said."""
    old: Array
    new: Array
    """(trainings, photos, K) what each photo adds to K sums."""
    statistic: Callable[[Array], Array]
    """Turns sums (N, K) into N values."""
    spread: float = 0.0
    """Standard deviation over trainings to assume where each side was trained once."""


@dataclass(frozen=True)
class Row:
    """One number of two results compared."""

    part: str
    name: str
    better: int
    photos: int | None
    """Photos that both have; None where the two were compared by their intervals."""
    old: float | None
    new: float | None
    difference: Estimate
    """New less old; the interval is this row's alone."""
    error: float | None = None
    """Standard error of the difference."""
    p: float | None = None
    corrected: float | None = None
    """``p`` corrected for the number of rows (Holm)."""
    seen_from: float | None = None
    """The smallest difference that would have been seen four times in five."""
    verdict: Verdict = "cannot be said"


def compare_measure(measure: Measure, seed: int = 0) -> Row:
    """Compare one number, not yet corrected for the others."""
    both = [measure.old, measure.new]
    with np.errstate(invalid="ignore", divide="ignore"):
        each = [measure.statistic(side.sum(axis=1)) for side in both]
    old, new = (float(values.mean()) for values in each)
    photos = both[0].shape[1]
    if not (np.isfinite(old) and np.isfinite(new)):
        return Row(measure.part, measure.name, measure.better, photos, None, None, Estimate())
    counts, width = [len(side) for side in both], both[0].shape[2]

    def difference(totals: Array) -> Array:
        parts = totals.reshape(len(totals), sum(counts), width)
        found = np.stack([measure.statistic(parts[:, place]) for place in range(sum(counts))], axis=1)
        return found[:, counts[0] :].mean(axis=1) - found[:, : counts[0]].mean(axis=1)

    stacked = np.moveaxis(np.concatenate(both), 0, 1).reshape(photos, -1)
    estimate = Estimate.of_totals(stacked, difference, seed=seed)
    row = Row(measure.part, measure.name, measure.better, photos, old, new, estimate)
    if estimate.low is None or estimate.high is None:
        return row
    error = (estimate.high - estimate.low) / WIDTH
    if max(counts) > 1:
        return _over_trainings(row, each, error)
    by_photos = replace(row, error=error, p=_permuted(measure, new - old, seed))
    return _with_spread(by_photos, measure.spread) if measure.spread else by_photos


def compare_estimates(
    part: str, name: str, better: int, old: Estimate | None, new: Estimate | None, spread: float = 0.0
) -> Row | None:
    """Compare two numbers by their intervals, as if the photos had been others; None where one is not measured."""
    if old is None or new is None or old.value is None or new.value is None:
        return None
    change = new.value - old.value
    row = Row(part, name, better, None, old.value, new.value, Estimate(change))
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return row
    error = float(np.hypot(old.high - old.low, new.high - new.low)) / WIDTH
    return _with_spread(replace(row, error=error, p=0.0), spread)


def judge(rows: Sequence[Row]) -> list[Row]:
    """Correct for the number of rows (Holm) and give every row its verdict."""
    from scipy.stats import norm

    corrected = holm(np.array([np.nan if row.p is None else row.p for row in rows]))
    tested = int((~np.isnan(corrected)).sum())
    reach = float(norm.ppf(1 - LEVEL / 2 / max(tested, 1)) + norm.ppf(POWER))
    judged = list(rows)
    for place, (row, p) in enumerate(zip(rows, corrected.tolist(), strict=True)):
        if row.p is None:
            continue
        seen_from = row.error * reach if row.error else None
        judged[place] = replace(row, corrected=p, seen_from=seen_from, verdict=_verdict(row, p))
    return judged


def _verdict(row: Row, corrected: float) -> Verdict:
    if corrected >= LEVEL or not row.difference.value:
        return "no difference seen"
    if not row.better:
        return "differs"
    return "better" if row.difference.value * row.better > 0 else "worse"


def _permuted(measure: Measure, change: float, seed: int) -> float:
    """How often swapping the two answers to a photo at random makes as large a difference."""
    old, new = measure.old[0], measure.new[0]
    moved = new - old
    unequal = (moved != 0).any(axis=1)
    chance, count = np.random.default_rng(seed), 0
    for start in range(0, PERMUTATIONS, AT_ONCE):
        some = min(AT_ONCE, PERMUTATIONS - start)
        shift = chance.integers(0, 2, size=(some, int(unequal.sum()))).astype(float) @ moved[unequal]
        with np.errstate(invalid="ignore", divide="ignore"):
            found = measure.statistic(new.sum(axis=0) - shift) - measure.statistic(old.sum(axis=0) + shift)
        count += int((np.abs(found) >= abs(change) - 1e-12).sum())
    return (1 + count) / (PERMUTATIONS + 1)


def _over_trainings(row: Row, each: Sequence[Array], error: float) -> Row:
    """Count the trainings' spread as well; where one side was trained once, it is that of the other."""
    from scipy.stats import t

    photos = row.photos or 2
    spread = [float(values.var(ddof=1)) if len(values) > 1 else None for values in each]
    known = [(value, len(values) - 1) for value, values in zip(spread, each, strict=True) if value is not None]
    pooled = sum(value * freedom for value, freedom in known) / sum(freedom for _, freedom in known)
    of_training = pooled * sum(1 / len(values) for values in each)
    total = error**2 + of_training
    if total == 0:
        return replace(row, error=0.0, p=1.0)
    freedom = total**2 / (of_training**2 / sum(freedom for _, freedom in known) + error**4 / max(photos - 1, 1))
    change = row.difference.value or 0.0
    reach = float(t.ppf(0.975, freedom)) * total**0.5
    chance = float(2 * t.sf(abs(change) / total**0.5, freedom))
    return replace(row, difference=Estimate(change, change - reach, change + reach), error=total**0.5, p=chance)


def _with_spread(row: Row, spread: float) -> Row:
    """Widen the interval by the spread of one training on each side; the chance is the larger of both kinds."""
    from scipy.stats import norm

    change, error = row.difference.value or 0.0, float(np.hypot(row.error or 0.0, spread * 2**0.5))
    chance = float(2 * norm.sf(abs(change) / error)) if error else float(change == 0)
    interval = Estimate(change, change - error * WIDTH / 2, change + error * WIDTH / 2)
    return replace(row, difference=interval, error=error, p=max(row.p or 0.0, chance))
