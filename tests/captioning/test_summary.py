"""Differences between kinds of words, and how sure they are."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vit_atlas.captioning.measure.summary import DIFFERENCES, caption_metrics

Photo = dict[str, list[float]]


def metrics_of(photos: list[Photo]) -> dict[str, Any]:
    """The numbers of photos whose words have these values by score."""
    words = [
        (f"{place}.png", name, sum(values), len(values))
        for place, photo in enumerate(photos)
        for name, values in photo.items()
    ]
    table = pd.DataFrame({"image": [f"{place}.png" for place in range(len(photos))], "caption": "a b", "ended": True})
    texts = {"photos_with_captions": 0, "unseen_words": None, "bleu_4": None, "warnings": []}
    return caption_metrics(table, pd.DataFrame(words, columns=["image", "score", "sum", "count"]), texts)


def photos_of(shift: float, photos: int = 60) -> list[Photo]:
    noise = np.random.default_rng(0)
    found = []
    for _ in range(photos):
        own = noise.normal()
        relations = [own + shift + noise.normal(scale=0.1) for _ in range(3)]
        found.append({"relation_entropy": relations, "noun_entropy": [own]})
    return found


def test_a_clear_difference_lies_above_zero_and_none_holds_it() -> None:
    clear, none = metrics_of(photos_of(1.0)), metrics_of(photos_of(0.0))
    name = "relation_over_noun_entropy"
    assert clear[name] == pytest.approx(1, abs=0.1)
    assert 0 < clear[f"{name}_low"] < clear[name] < clear[f"{name}_high"]
    assert none[f"{name}_low"] < 0 < none[f"{name}_high"]
    assert metrics_of(photos_of(1.0)) == clear


def test_photos_are_resampled_and_not_words() -> None:
    """Fifty equal words in each of few photos must not look like many independent ones."""
    few = [{"noun_mass": [value] * 50, "noun_mass_gaussian": [0.0] * 50} for value in (0.0, 1.0, 0.0, 1.0)]
    found = metrics_of(few)
    assert found["noun_mass_over_gaussian"] == 0.5
    assert found["noun_mass_over_gaussian_high"] - found["noun_mass_over_gaussian_low"] >= 0.75
    assert found["nouns_scored"] == 200


def test_photos_are_counted_by_the_words_that_they_have() -> None:
    found = metrics_of([{"noun_mass": [0.5], "relation_entropy": [0.5]}, {"relation_entropy": [0.5], "noun_mass": [1]}])
    assert [found[f"photos_with_{what}"] for what in ("nouns", "articles", "relations", "both_objects")] == [2, 0, 2, 0]
    more = metrics_of([{"article_noun_correlation": [0.5] * 3, "relation_lesser_mass": [0.1]}, {}])
    assert [more[f"photos_with_{what}"] for what in ("nouns", "articles", "relations", "both_objects")] == [0, 1, 0, 1]


def test_what_is_not_there_is_none() -> None:
    for case in ([{}], photos_of(1.0, photos=1)):
        found = metrics_of(case)
        assert {f"{name}{end}" for name in DIFFERENCES for end in ("", "_low", "_high")} <= set(found)
        assert found["article_noun_over_others"] is None
        assert found["relation_over_noun_entropy_low"] is None
