"""Estimates: intervals that hold what they should, one policy for few and equal values, one way to write and read."""

import numpy as np
import pytest

from vit_atlas import estimates
from vit_atlas.estimates import Estimate


def test_interval_is_that_of_the_library() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(3).normal(size=80)
    found = Estimate.mean(values, samples=20_000)
    expected = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.01)


def test_intervals_of_19_in_20_samples_hold_the_truth() -> None:
    generator = np.random.default_rng(0)
    holding = 0
    for _ in range(400):
        found = Estimate.mean(generator.random(100) < 0.7, samples=400)
        assert found.low is not None
        assert found.high is not None
        holding += found.low <= 0.7 <= found.high
    assert 0.91 <= holding / 400 <= 0.98


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Estimate()),
        ([np.nan], Estimate()),
        ([0.5], Estimate(0.5)),
        ([0.5, np.nan], Estimate(0.5)),
        ([True, True, True], Estimate(1.0, 1.0, 1.0)),
    ],
)
def test_few_and_equal_values(values: list[float], expected: Estimate) -> None:
    assert Estimate.mean(values) == expected


def test_differences_are_paired() -> None:
    """Two results that differ by 0.1 on every photo differ by exactly that, however much the photos vary."""
    first = np.random.default_rng(0).integers(0, 100, 50) / 128
    found = Estimate.mean((first + 0.125) - first)
    assert found == Estimate(0.125, 0.125, 0.125)


def test_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(37)
    whole = Estimate.mean(values, samples=500)
    monkeypatch.setattr(estimates, "_VALUES_AT_ONCE", 100)
    assert Estimate.mean(values, samples=500) == whole


def test_a_statistic_of_sums_leaves_out_resamples_without_it() -> None:
    """A mean over the words of photos of which most have none."""
    rows = np.array([[3.0, 2], [0, 0], [0, 0], [1.0, 1]])
    found = Estimate.of_totals(rows, lambda totals: totals[:, 0] / totals[:, 1], samples=300)
    assert found.value == pytest.approx(4 / 3)
    assert (found.low, found.high) == pytest.approx((1.0, 1.5))


def test_groups_weigh_the_same_however_large_they_are() -> None:
    values, groups = [1, 1, 1, 1, 1, 1, 0, 0], ["a"] * 6 + ["b"] * 2
    assert Estimate.mean_of_groups(values, groups) == Estimate(0.5, 0.5, 0.5)
    spread = Estimate.mean_of_groups([1, 0, 1, 0], ["a", "a", "b", "b"], samples=500)
    assert spread.value == 0.5
    assert (spread.low, spread.high) == (0.0, 1.0)
    assert Estimate.mean_of_groups([], []) == Estimate()
    assert Estimate.mean_of_groups([1], ["a"]) == Estimate(1.0)


def test_written_read_and_shown() -> None:
    metrics = Estimate(0.7, 0.64, 0.75).flat("accuracy") | Estimate(0.5).flat("single") | Estimate().flat("none")
    assert metrics["accuracy_low"] == 0.64
    assert Estimate.read(metrics, "accuracy") == Estimate(0.7, 0.64, 0.75)
    assert Estimate.read(metrics, "none") is None
    assert Estimate.read(metrics, "absent") is None
    assert f"{Estimate(0.7, 0.64, 0.75):.2f}" == "0.70 [0.64, 0.75]"
    assert f"{Estimate(0.05, -0.01, 0.1):+.1%}" == "+5.0% [-1.0%, +10.0%]"
    assert f"{Estimate(0.5):.2f}" == "0.50"
    assert f"{Estimate()}" == "not measured"


@pytest.mark.parametrize(
    ("estimate", "verdict"),
    [
        (Estimate(0.7, 0.6, 0.8), "supported"),
        (Estimate(0.4, 0.3, 0.49), "not supported"),
        (Estimate(0.7, 0.5, 0.8), "cannot be said"),
        (Estimate(0.7), "cannot be said"),
        (Estimate(), "cannot be said"),
    ],
)
def test_verdict_needs_the_interval_on_one_side(estimate: Estimate, verdict: str) -> None:
    assert estimate.above(0.5) == verdict
