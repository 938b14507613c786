"""Sentences and verdicts: no more is claimed than the intervals allow."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vit_atlas.captioning.measure.summary import caption_metrics, trainings_metrics
from vit_atlas.estimates import Estimate
from vit_atlas.report.sentences import SENTENCES, claims, missing

from .synthetic import ATTENTION, CAPTION, EVALUATE, INTERVENTIONS


def verdicts(**metrics: dict[str, Any]) -> dict[str, str]:
    return {claim.text.split()[0] + " " + claim.text.split()[1]: claim.verdict for claim in claims(metrics)}


def test_each_sentence_has_numbers_a_rule_and_a_verdict() -> None:
    found = claims(
        {
            "evaluate": EVALUATE,
            "embeddings": {"rank_correlation_after": -0.5},
            "attention": ATTENTION,
            "caption": CAPTION,
        }
    )
    assert len(found) == 7
    for claim in found:
        assert claim.numbers
        assert claim.rule
    mass = next(claim for claim in found if "mostly on the object" in claim.text)
    assert mass.numbers[0] == "share of attention inside the mask 0.60 [0.55, 0.65]"
    assert mass.verdict == "supported"


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 0.2, "supported"), (-0.2, -0.1, "not supported"), (-0.1, 0.1, "cannot be said")]
)
def test_an_interval_that_holds_the_bound_decides_nothing(low: float, high: float, verdict: str) -> None:
    metrics = EVALUATE | {"accuracy_minus_probe_low": low, "accuracy_minus_probe_high": high}
    assert verdicts(evaluate=metrics) == {"Fine-tuning is": verdict}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(-0.54, "supported"), (-0.2, "cannot be said"), (0.0, "not supported"), (0.6, "not supported")],
)
def test_closeness_is_judged_by_the_correlation(value: float, verdict: str) -> None:
    assert list(verdicts(embeddings={"rank_correlation_after": value}).values()) == [verdict]


@pytest.mark.parametrize(
    ("low", "high", "photos", "verdict"),
    [
        (0.1, 0.2, 16, "supported"),
        (0.1, 0.2, 4, "cannot be said"),
        (-0.1, 0.2, 16, "cannot be said"),
        (-0.2, -0.1, 16, "not supported"),
    ],
)
def test_tokens_are_judged_by_the_interval(low: float, high: float, photos: int, verdict: str) -> None:
    metrics = {"photos": photos, "token_similarity_neighbours": 0.9}
    metrics |= Estimate((low + high) / 2, low, high).flat("token_neighbours_over_others")
    (claim,) = claims({"embeddings": metrics})
    assert claim.verdict == verdict


def emphasis(outside: tuple[float, float], left: tuple[float, float], photos: int = 30) -> list[str]:
    """Verdicts on the strange emphasis, from the ends of its intervals."""
    metrics = {
        "photos_scored": 32,
        "artefacts.photos": photos,
        "artefacts.attention": 0.2,
        **Estimate(0.9, 0.8, 1.0).flat("artefacts.present"),
        **Estimate(0.5, *outside).flat("artefacts.outside"),
        **Estimate(0.5, *left).flat("artefacts.left"),
    }
    found = claims({"attention": metrics})
    assert [claim.scope for claim in found] == ["in this training"] * 3
    return [claim.verdict for claim in found]


def test_strange_emphasis_is_judged_by_intervals() -> None:
    assert emphasis((0.8, 1.0), (0.6, 0.9)) == ["supported"] * 3
    assert emphasis((0.8, 1.0), (0.2, 0.4)) == ["supported", "supported", "not supported"]
    assert emphasis((0.8, 1.0), (0.4, 0.9)) == ["supported", "supported", "cannot be said"]
    assert emphasis((0.8, 1.0), (0.6, 0.9), photos=4) == ["supported", "cannot be said", "cannot be said"]


def test_no_strange_emphasis_has_no_place() -> None:
    none = {"photos_scored": 32, "artefacts.photos": 0, "artefacts.outside": None, "artefacts.left": None}
    (claim,) = claims({"attention": none | Estimate.mean(np.zeros(32, bool)).flat("artefacts.present")})
    assert claim.verdict == "not supported"
    assert claim.numbers == ("share of photos with such patches 0.00 [0.00, 0.11]",)


def test_the_reference_is_judged_by_the_accuracys_interval() -> None:
    found = claims({"evaluate": EVALUATE | {"reference_accuracy": 0.96, "distance_to_reference": -0.06}})
    assert [claim.verdict for claim in found] == ["supported", "not supported"]
    assert found[1].numbers[1] == "distance to the reference -0.060"


def test_without_an_interval_nothing_can_be_said() -> None:
    metrics = {"article_noun_correlation": 0.9, "other_neighbours_correlation": 0.1}
    (claim,) = claims({"caption": metrics})
    assert claim.verdict == "cannot be said"


def test_what_is_missing_is_left_out_and_named() -> None:
    assert claims({}) == []
    assert claims({"evaluate": {"accuracy": 1.0}, "caption": {"noun_mass": None}, "embeddings": {}}) == []
    assert missing({"evaluate": {}}) == [
        "metrics/embeddings.json",
        "metrics/attention.json",
        "metrics/interventions.json",
        "metrics/caption.json",
    ]


def test_the_emphasis_is_three_numbers_whether_it_is_there_beside_the_object_and_matters() -> None:
    found = {claim.text: claim for claim in claims({"interventions": INTERVENTIONS})}
    assert [claim.verdict for claim in found.values()] == ["supported", "cannot be said", "cannot be said"]
    emphasis = found["The emphasis beside the object carries the answer."]
    assert emphasis.numbers[0] == "photos with an emphasis beside the object 3"
    assert emphasis.numbers[1].endswith("+0.010 [-0.010, +0.030]")


@pytest.mark.parametrize(("photos", "verdict"), [(9, "cannot be said"), (10, "supported")])
@pytest.mark.parametrize(
    ("file", "count", "key"),
    [
        ("evaluate", "photos", "accuracy_minus_probe"),
        ("attention", "photos_scored", "head_mean.mass"),
        ("interventions", "photos_with_background", "needs_object"),
        ("interventions", "photos_with_background", "background_above_chance"),
        ("interventions", "photos_with_emphasis_beside", "beside_effect"),
        ("caption", "photos_with_nouns", "noun_mass_over_gaussian"),
        ("caption", "photos_with_articles", "article_noun_over_others"),
        ("caption", "photos_with_relations", "relation_over_noun_entropy"),
        ("caption", "photos_with_both_objects", "relation_over_noun_lesser_mass"),
    ],
)
def test_a_handful_of_photos_decides_nothing(file: str, count: str, key: str, photos: int, verdict: str) -> None:
    """Three photos that agree give a bootstrap interval on one side every time."""
    first = next(sentence.shown[0][1] for sentence in SENTENCES if sentence.key == key)
    shown = {"evaluate": {"accuracy": 0.9, "probe_accuracy": 0.8}, "caption": {first: 0.9}}.get(file, {})
    (claim,) = claims({file: {key: 0.7, f"{key}_low": 0.6, f"{key}_high": 0.8, count: photos} | shown})
    assert claim.verdict == verdict
    assert any("too few photos to decide: 9" in number for number in claim.numbers) == (photos == 9)


FACTS = {"photos_with_captions": 30, "bleu_4": 0.3, "warnings": []}


def words(difference: float, seed: int) -> pd.DataFrame:
    """Scores of 30 photos' words: an article's map is as alike its noun's as other neighbours', plus ``difference``."""
    noise = np.random.default_rng(seed).normal(0, 0.05, (30, 2))
    means = {"article_noun_correlation": 0.3 + difference, "other_neighbours_correlation": 0.3}
    rows = [
        {"image": f"{photo}.png", "score": score, "sum": 2 * (mean + noise[photo, place]), "count": 2}
        for photo in range(30)
        for place, (score, mean) in enumerate(means.items())
    ]
    return pd.DataFrame(rows)


def article_claim(*seeds: float) -> Any:
    """What is said of "a" and its noun after trainings that differ by so much."""
    tables = {seed: words(difference, seed) for seed, difference in enumerate(seeds)}
    photos = pd.DataFrame({"caption": ["a b"] * 30, "ended": True})
    metrics = caption_metrics(photos, tables[0], FACTS)
    if len(seeds) > 1:
        metrics |= trainings_metrics({seed: (table, FACTS) for seed, table in tables.items()})
    return next(claim for claim in claims({"caption": metrics}) if "similar maps" in claim.text)


def test_two_seeds_that_say_the_opposite_say_nothing_together() -> None:
    assert article_claim(0.1).verdict == "supported"
    assert article_claim(-0.1).verdict == "not supported"
    assert article_claim(0.1).scope == "in this training"
    both = article_claim(0.1, -0.1)
    assert (both.verdict, both.scope) == ("cannot be said", "over 2 trainings")
    assert "over 2 trainings" in both.numbers[-1]
    assert "standard deviation 0.1" in both.numbers[-1]


def test_seeds_that_agree_decide_together() -> None:
    assert article_claim(0.1, 0.11, 0.09, 0.1).verdict == "supported"
    assert article_claim(0.3, -0.01, 0.01, 0.02).verdict == "cannot be said", "one training that stands out is no rule"


def test_a_seed_without_such_words_does_not_count() -> None:
    empty = words(0.1, 5).assign(score="noun_entropy")
    found = trainings_metrics({0: (words(0.1, 0), FACTS), 5: (empty, FACTS)})
    assert found["article_noun_over_others_over_seeds_low"] is None
    assert found["by_seed"]["5"]["article_noun_over_others"] is None
    assert found["by_seed"]["0"]["article_noun_over_others"] == pytest.approx(0.1, abs=0.05)
