"""Differences between kinds of words, and how sure they are."""

import numpy as np
import pytest

from vit_atlas.captioning.measure.intervals import DIFFERENCES, difference_metrics
from vit_atlas.captioning.measure.word_maps import Tally


def tallies(shift: float, photos: int = 60) -> list[Tally]:
    noise = np.random.default_rng(0)
    found = []
    for _ in range(photos):
        tally = Tally()
        own = noise.normal()
        for _ in range(3):
            tally.add("relation_entropy", own + shift + noise.normal(scale=0.1))
        tally.add("noun_entropy", own)
        found.append(tally)
    return found


def test_a_clear_difference_lies_above_zero_and_none_holds_it() -> None:
    clear, none = difference_metrics(tallies(1.0)), difference_metrics(tallies(0.0))
    name = "relation_over_noun_entropy"
    assert clear[name] == pytest.approx(1, abs=0.1)
    assert 0 < clear[f"{name}_low"] < clear[name] < clear[f"{name}_high"]
    assert none[f"{name}_low"] < 0 < none[f"{name}_high"]
    assert difference_metrics(tallies(1.0)) == clear


def test_photos_are_drawn_and_not_words() -> None:
    """Ten equal words in each of few photos must not look like many independent ones."""
    few = []
    for value in (0.0, 1.0, 0.0, 1.0):
        tally = Tally()
        for _ in range(50):
            tally.add("noun_mass", value)
            tally.add("noun_mass_gaussian", 0.0)
        few.append(tally)
    found = difference_metrics(few)
    assert found["noun_mass_over_gaussian"] == 0.5
    assert found["noun_mass_over_gaussian_high"] - found["noun_mass_over_gaussian_low"] >= 0.75


def test_what_is_not_there_is_none() -> None:
    for case in ([], [Tally()], tallies(1.0, photos=1)):
        found = difference_metrics(case)
        assert set(found) == {f"{name}{end}" for name in DIFFERENCES for end in ("", "_low", "_high")}
        assert found["article_noun_over_others"] is None
        assert found["relation_over_noun_entropy_low"] is None
