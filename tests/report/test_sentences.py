"""Sentences and verdicts: no more is claimed than the intervals allow."""

from typing import Any

import pytest

from vit_atlas.report.sentences import claims, missing

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
    ("photos", "outside", "left", "verdict"),
    [
        (0, None, None, "not supported"),
        (9, 0.9, 0.8, "supported"),
        (9, 0.9, 0.2, "not supported"),
        (9, None, 0.9, "cannot be said"),
    ],
)
def test_strange_emphasis(photos: int, outside: float | None, left: float | None, verdict: str) -> None:
    metrics = {
        "photos_scored": 12,
        "artefacts.photos": photos,
        "artefacts.outside": outside,
        "artefacts.left": left,
    }
    assert list(verdicts(attention=metrics).values()) == [verdict]


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
        ("interventions", "photos_with_masks", "needs_object"),
        ("interventions", "photos_with_emphasis_beside", "beside_effect"),
    ],
)
def test_a_handful_of_photos_decides_nothing(file: str, count: str, key: str, photos: int, verdict: str) -> None:
    """Three photos that agree give a bootstrap interval on one side every time."""
    shown = {"accuracy": 0.9, "probe_accuracy": 0.8} if file == "evaluate" else {}
    (claim,) = claims({file: {key: 0.7, f"{key}_low": 0.6, f"{key}_high": 0.8, count: photos} | shown})
    assert claim.verdict == verdict
    assert any("too few photos to decide: 9" in number for number in claim.numbers) == (photos == 9)
