"""Estimates: intervals that hold what they should, one policy for few and equal values, one way to write and read."""

import numpy as np
import pytest
from scipy.stats import binomtest

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
        ([0.5, 0.5, 0.5], Estimate(0.5, 0.5, 0.5)),
    ],
)
def test_few_and_equal_values(values: list[float], expected: Estimate) -> None:
    assert Estimate.mean(values) == expected


def test_a_share_of_all_or_none_has_wilsons_interval() -> None:
    for right, photos in ((True, 8), (False, 8), (True, 2)):
        expected = binomtest(right * photos, photos).proportion_ci(method="wilson")
        found = Estimate.mean([right] * photos)
        assert found.value == right
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)
        assert Estimate.mean_of_groups([right] * photos, [0, 1] * (photos // 2)) == found
    uneven = Estimate.mean_of_groups([True] * 12, ["a"] * 10 + ["b"] * 2)
    assert uneven.low is not None
    assert uneven.low < (Estimate.mean([True] * 12).low or 0)
    assert Estimate.mean(np.zeros(8)) == Estimate(0.0, 0.0, 0.0)


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


def share(totals: np.ndarray) -> np.ndarray:
    return np.asarray(totals[:, 0] / totals[:, 1])


def played(generator: np.random.Generator, trainings: int, by_seed: float, by_photo: float) -> np.ndarray:
    """Values (trainings, photos, 2) around zero, which differ by training, by photo, and by chance."""
    values = generator.normal(0, by_seed, (trainings, 1)) + generator.normal(0, by_photo, 100)
    values = values + generator.normal(0, 0.2, (trainings, 100))
    return np.stack([values, np.ones_like(values)], axis=-1)


@pytest.mark.parametrize("trainings", [2, 3, 5])
@pytest.mark.parametrize(("by_seed", "by_photo"), [(0.3, 0.4), (0.05, 0.4), (0.0, 0.4)])
def test_intervals_over_trainings_hold_the_truth_whichever_chance_is_larger(
    trainings: int, by_seed: float, by_photo: float
) -> None:
    generator = np.random.default_rng(trainings)
    holding = 0
    for _ in range(300):
        found = Estimate.over_trainings(played(generator, trainings, by_seed, by_photo), share, samples=300)
        assert found.low is not None
        assert found.high is not None
        holding += found.low <= 0 <= found.high
    # So few trainings tell little of their own spread: nearly 19 in 20 is what they can give.
    assert holding / 300 >= {2: 0.86, 3: 0.88, 5: 0.91}[trainings]


def test_photos_alone_would_be_too_sure_of_themselves() -> None:
    generator = np.random.default_rng(0)
    rows = played(generator, 5, by_seed=0.3, by_photo=0.1)
    alone, both = Estimate.mean(rows[0, :, 0]), Estimate.over_trainings(rows, share)
    assert alone.low is not None
    assert alone.high is not None
    assert both.low is not None
    assert both.high is not None
    assert both.high - both.low > 3 * (alone.high - alone.low)


def test_over_equal_trainings_the_interval_is_that_over_photos() -> None:
    one = (np.random.default_rng(0).random(200) < 0.7).astype(float)
    found = Estimate.over_trainings(np.stack([np.stack([one, np.ones(200)], axis=-1)] * 3), share, samples=4000)
    expected = Estimate.mean(one, samples=4000)
    assert list(vars(found).values()) == pytest.approx(list(vars(expected).values()), abs=0.01)


def test_one_training_shows_no_spread_and_none_no_value() -> None:
    rows = np.ones((3, 4, 2))
    assert Estimate.over_trainings(rows, share) == Estimate(1.0, 1.0, 1.0)
    assert Estimate.over_trainings(rows[:1], share) == Estimate(1.0)
    assert Estimate.over_trainings(0 * rows, share) == Estimate()
    rows[0] = 0  # a training without a single such photo
    assert Estimate.over_trainings(rows, share) == Estimate(1.0, 1.0, 1.0)
