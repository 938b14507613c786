"""A number with its interval: how it is computed, compared, written into metrics/*.json, read back and shown.

One bootstrap and one policy for the whole project. The interval is the 95 % percentile interval over resampled photos.
It is absent (None at both ends) where fewer than two photos have the number, for they cannot show a spread. Where all
photos have the same value, resampling shows none and both ends are that value; only for a share of photos (booleans),
all right or all wrong, it is Wilson's, since the next photo may be the first of the other kind. Where a result holds
several trainings, :meth:`Estimate.over_trainings` takes the chance of training into account as well.

References:
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13 (percentile intervals).
    Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["supported", "not supported", "cannot be said"]

SAMPLES = 2000
"""Resamples where no setting names their number."""

_VALUES_AT_ONCE = 2_000_000
"""Values of one chunk of resamples: memory stays flat whatever the number of photos."""


@dataclass(frozen=True)
class Estimate:
    """A measured number and the ends of its 95 % interval, each None where it does not exist."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def mean(cls, values: Any, samples: int = SAMPLES, seed: int = 0) -> "Estimate":
        """Estimate the mean of one value a photo.

        Equal seeds and numbers of photos resample the same photos. The estimate of the mean of differences, photo by
        photo, is therefore the paired one.

        Args:
            values: (photos,), numbers or booleans; NaN (a photo without the number) is left out.
            samples: resamples behind the interval.
            seed: of the resampling.
        """
        numbers = np.asarray(values, dtype=np.float64).ravel()
        if _all_the_same(values):
            return cls._all_or_none(bool(numbers[0]), len(numbers))
        numbers = numbers[~np.isnan(numbers)]
        return cls.of_totals(numbers[:, None], lambda totals: totals[:, 0] / max(len(numbers), 1), samples, seed)

    @classmethod
    def mean_of_groups(cls, values: Any, groups: Any, samples: int = SAMPLES, seed: int = 0) -> "Estimate":
        """Estimate the mean over groups of each group's mean: balanced accuracy, where groups are classes.

        Photos are resampled within their group, so that every resample holds every group.

        Args:
            values: (photos,), numbers or booleans.
            groups: (photos,), the group of each.
            samples: resamples behind the interval.
            seed: of the resampling.
        """
        numbers, labels = np.asarray(values, dtype=np.float64), np.asarray(groups)
        parts = [numbers[labels == group] for group in np.unique(labels)]
        if not parts:
            return cls()
        value = float(np.mean([part.mean() for part in parts]))
        if len(numbers) < 2:
            return cls(value)
        if _all_the_same(values):
            return cls._all_or_none(bool(numbers[0]), len(parts) ** 2 / sum(1 / len(part) for part in parts))
        means = np.zeros(samples)
        for place, part in enumerate(parts):
            means += _resampled_totals(part[:, None], samples, [seed, place])[:, 0] / len(part) / len(parts)
        low, high = np.quantile(means, [0.025, 0.975])
        return cls(value, float(low), float(high))

    @classmethod
    def of_totals(
        cls, rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], samples: int = SAMPLES, seed: int = 0
    ) -> "Estimate":
        """Estimate a function of sums over photos, such as a difference of two means over words.

        Args:
            rows: (photos, K) what each photo adds to the K sums.
            statistic: turns sums (N, K) into N values; NaN where a resample has no such value, and it is left out.
            samples: resamples behind the interval.
            seed: of the resampling.
        """
        if not len(rows):
            return cls()
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(statistic(rows.sum(axis=0, keepdims=True))[0])
            if not np.isfinite(value):
                return cls()
            if len(rows) < 2:
                return cls(value)
            if (rows == rows[0]).all():
                return cls(value, value, value)
            resampled = statistic(_resampled_totals(rows, samples, seed))
        low, high = np.nanquantile(resampled, [0.025, 0.975])
        return cls(value, float(low), float(high))

    @classmethod
    def over_trainings(
        cls, rows: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], samples: int = SAMPLES, seed: int = 0
    ) -> "Estimate":
        """Estimate the mean over trainings of a number of each, with an interval that holds both chances.

        Trainings and photos are resampled apart (the pigeonhole bootstrap, Owen 2007), of T trainings T - 1 at a time,
        without which the variance of so few would come out too small by (T - 1) / T (Rao and Wu 1988). The ends are
        Student's t times the standard deviation of the resamples away from the mean, with the degrees of freedom that
        belong to the share that trainings have in it (Satterthwaite 1946): where they differ much, few of them decide
        little.

        Args:
            rows: (trainings, photos, K) what each photo adds to the K sums, the same photos in every training.
            statistic: turns sums (N, K) into N values; NaN where there is no such value.
            samples: resamples behind the interval.
            seed: of the resampling.

        References:
            Owen 2007, The pigeonhole bootstrap, https://arxiv.org/abs/0712.1111
            Rao and Wu 1988, Resampling inference with complex survey data
            Satterthwaite 1946, An approximate distribution of estimates of variance components
        """
        from scipy.stats import t

        with np.errstate(invalid="ignore", divide="ignore"):
            each = statistic(rows.sum(axis=1))
            rows, each = rows[np.isfinite(each)], each[np.isfinite(each)]
            trainings, photos = rows.shape[:2]
            if not trainings:
                return cls()
            value = float(each.mean())
            if trainings < 2 or photos < 2:
                return cls(value)
            flat = np.moveaxis(rows, 0, 1).reshape(photos, -1)
            totals = _resampled_totals(flat, samples, seed).reshape(samples, trainings, -1)
            found = np.stack([statistic(totals[:, place]) for place in range(trainings)], axis=1)
        drawn = np.random.default_rng([seed, 1]).integers(0, trainings, size=(samples, trainings - 1))
        of_all = float(np.nanvar(np.nanmean(np.take_along_axis(found, drawn, axis=1), axis=1)))
        of_trainings = min(float(each.var(ddof=1)) / trainings, of_all)
        if of_all == 0:
            return cls(value, value, value)
        freedom = of_all**2 / (of_trainings**2 / (trainings - 1) + (of_all - of_trainings) ** 2 / (photos - 1))
        reach = float(t.ppf(0.975, freedom)) * of_all**0.5
        return cls(value, value - reach, value + reach)

    @classmethod
    def _all_or_none(cls, right: bool, photos: float) -> "Estimate":
        """The share of photos where all have the property, or none has; ``photos`` may be an effective number."""
        from scipy.stats import binomtest

        count = max(int(photos), 1)
        interval = binomtest(count * right, count).proportion_ci(method="wilson")
        return cls(float(right), float(interval.low), float(interval.high))

    @classmethod
    def read(cls, metrics: Mapping[str, Any], name: str) -> "Estimate | None":
        """Read what :meth:`flat` wrote; None where ``metrics`` has no number of that name."""
        if metrics.get(name) is None:
            return None
        return cls(metrics[name], metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))

    def flat(self, name: str) -> dict[str, float | None]:
        """Write the estimate as the keys ``name``, ``name_low`` and ``name_high`` of a metrics file."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def above(self, bound: float) -> Verdict:
        """Judge whether the number lies above ``bound``: an interval that holds the bound decides nothing."""
        if self.low is None or self.high is None or self.low <= bound <= self.high:
            return "cannot be said"
        return "supported" if self.low > bound else "not supported"

    def __format__(self, spec: str) -> str:
        """Show value and interval, each by ``spec``: ``f"{estimate:.2f}"`` is ``0.70 [0.64, 0.75]``."""
        spec = spec or ".3f"
        if self.value is None:
            return "not measured"
        if self.low is None or self.high is None:
            return f"{self.value:{spec}}"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values (tests,) for their number; those that are NaN stay so and do not count.

    References:
        Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure
    """
    order = np.argsort(p_values)
    order = order[~np.isnan(p_values[order])]
    corrected = np.full(len(p_values), np.nan)
    steps = p_values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def _all_the_same(values: Any) -> bool:
    """Whether these are several booleans without a difference."""
    array = np.asarray(values).ravel()
    return array.dtype == bool and len(array) > 1 and bool((array == array[0]).all())


def _resampled_totals(rows: np.ndarray, samples: int, seed: int | list[int]) -> np.ndarray:
    """Sums (samples, K) over photos drawn with replacement from ``rows`` (photos, K)."""
    generator = np.random.default_rng(seed)
    photos, width = rows.shape
    chunk = max(1, _VALUES_AT_ONCE // (photos * width))
    totals = np.empty((samples, width))
    for start in range(0, samples, chunk):
        count = min(chunk, samples - start)
        totals[start : start + count] = rows[generator.integers(0, photos, size=(count, photos))].sum(axis=1)
    return totals
