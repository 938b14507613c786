"""The course report's sentences, each with the numbers that speak for or against it on this data, and a verdict.

A verdict follows a rule that the page tells: an interval (95 %) on one side of a bound decides, and one that holds the
bound decides nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["supported", "not supported", "cannot be said"]
Metrics = Mapping[str, Any]

STRONG, WEAK = 0.3, 0.1
"""Sizes of a rank correlation from which on it counts, and up to which it does not."""


@dataclass(frozen=True)
class Claim:
    """One sentence and what the numbers say of it."""

    text: str
    verdict: Verdict
    numbers: tuple[str, ...]
    """Readable: what was measured, and its value with its interval."""
    rule: str
    """When it would be supported."""


def claims(metrics: Mapping[str, Metrics]) -> list[Claim]:
    """All sentences that the numbers in metrics/*.json (file stem -> content) can speak of."""
    sources: list[tuple[str, Callable[[Metrics], Claim | None]]] = [
        ("evaluate", _beats_probe),
        ("evaluate", _reaches_reference),
        ("embeddings", _close_is_similar),
        ("attention", _covers_object),
        ("attention", _beats_gaussian),
        ("attention", _strange_emphasis),
        ("caption", _names_what_it_sees),
        ("caption", _article_and_noun),
        ("caption", _relation_spreads),
        ("caption", _relation_sees_both),
    ]
    found = [make(metrics[name]) for name, make in sources if name in metrics]
    return [claim for claim in found if claim is not None]


def missing(metrics: Mapping[str, Metrics]) -> list[str]:
    """The metrics files without which some sentences are left out."""
    names = ("evaluate", "embeddings", "attention", "caption")
    return [f"metrics/{name}.json" for name in names if name not in metrics]


def _beats_probe(metrics: Metrics) -> Claim | None:
    if metrics.get("probe_accuracy") is None:
        return None
    return Claim(
        "Fine-tuning is better than a linear probe on the pretrained features.",
        _above(metrics, "accuracy_minus_probe", 0),
        (
            _share("accuracy", metrics, "accuracy"),
            _share("linear probe", metrics, "probe_accuracy"),
            _number("difference", metrics, "accuracy_minus_probe", signed=True),
        ),
        "the interval of the difference lies above 0",
    )


def _reaches_reference(metrics: Metrics) -> Claim | None:
    reference = metrics.get("reference_accuracy")
    if reference is None:
        return None
    return Claim(
        f"The model reaches the reference accuracy, {reference:.1%}.",
        _above(metrics, "accuracy", reference),
        (
            _share("accuracy", metrics, "accuracy"),
            f"distance to the reference {metrics['accuracy'] - reference:+.3f}",
        ),
        "the interval of the accuracy lies above the reference",
    )


def _close_is_similar(metrics: Metrics) -> Claim | None:
    value = metrics.get("rank_correlation_after")
    if value is None:
        return None
    verdict: Verdict = "cannot be said"
    if value <= -STRONG:
        verdict = "supported"
    elif value >= -WEAK:
        verdict = "not supported"
    return Claim(
        "Patches close to each other have similar position embeddings.",
        verdict,
        (f"rank correlation of similarity with distance {value:.2f}, over all pairs of patches",),
        f"the correlation is {-STRONG} or lower; above {-WEAK} it is refuted",
    )


def _covers_object(metrics: Metrics) -> Claim | None:
    if metrics.get("head_mean.mass") is None:
        return None
    return Claim(
        "The class token's attention is mostly on the object.",
        _above(metrics, "head_mean.mass", 0.5),
        (
            _number("share of attention inside the mask", metrics, "head_mean.mass"),
            _number("mean IoU with the mask", metrics, "head_mean.miou"),
            _number("peak inside the mask", metrics, "head_mean.pointing"),
        ),
        "the interval of the share inside the mask lies above one half",
    )


def _beats_gaussian(metrics: Metrics) -> Claim | None:
    winner = metrics.get("winner")
    if not winner or metrics.get(f"{winner}.miou_over_gaussian") is None:
        return None
    return Claim(
        "Attention maps find the object better than a Gaussian in the photo's centre does.",
        _above(metrics, f"{winner}.miou_over_gaussian", 0),
        (
            _number(f"mean IoU of the best method, {winner.replace('_', ' ')},", metrics, f"{winner}.miou"),
            _number("of the Gaussian", metrics, "gaussian.miou"),
            _number("difference, photo by photo,", metrics, f"{winner}.miou_over_gaussian", signed=True),
        ),
        "the interval of the difference lies above 0",
    )


def _strange_emphasis(metrics: Metrics) -> Claim | None:
    text = "The attention has a strange emphasis beside the object (high-norm outlier tokens), on the left."
    rule = "there are outlier tokens, most of them outside the object and in the left half"
    if "artefacts.photos" not in metrics or not metrics.get("photos_scored"):
        return None
    photos = metrics["artefacts.photos"]
    counted = f"photos with outlier tokens {photos} of {metrics['photos_scored']}"
    if not photos:
        return Claim(text, "not supported", (counted,), rule)
    outside, left = metrics.get("artefacts.outside"), metrics.get("artefacts.left")
    numbers = [counted]
    numbers += [f"share of them outside the object {outside:.2f}"] if outside is not None else []
    numbers += [f"in the left half {left:.2f}"] if left is not None else []
    if outside is None or left is None:
        return Claim(text, "cannot be said", tuple(numbers), rule)
    return Claim(text, "supported" if outside > 0.5 and left > 0.5 else "not supported", tuple(numbers), rule)


def _names_what_it_sees(metrics: Metrics) -> Claim | None:
    if metrics.get("noun_mass") is None:
        return None
    return Claim(
        "For a noun, the captioner looks at the thing that it names.",
        _above(metrics, "noun_mass_over_gaussian", 0),
        (
            f"share of a noun's map inside its mask {metrics['noun_mass']:.2f}",
            f"of a centre Gaussian {metrics['noun_mass_gaussian']:.2f}",
            _number("difference", metrics, "noun_mass_over_gaussian", signed=True),
        ),
        "the interval of the difference lies above 0",
    )


def _article_and_noun(metrics: Metrics) -> Claim | None:
    if metrics.get("article_noun_correlation") is None:
        return None
    return Claim(
        "\u201ca\u201d and its noun have similar maps.",
        _above(metrics, "article_noun_over_others", 0),
        (
            f"correlation of an article's map with its noun's {metrics['article_noun_correlation']:.2f}",
            f"of other neighbours {_plain(metrics, 'other_neighbours_correlation')}",
            _number("difference", metrics, "article_noun_over_others", signed=True),
        ),
        "the interval of the difference lies above 0: similar means more alike than neighbours are anyway",
    )


def _relation_spreads(metrics: Metrics) -> Claim | None:
    if metrics.get("relation_entropy") is None:
        return None
    return Claim(
        "Words such as \u201cnext to\u201d do not focus on one object.",
        _above(metrics, "relation_over_noun_entropy", 0),
        (
            f"entropy of their maps {metrics['relation_entropy']:.2f} (1 is spread evenly)",
            f"of nouns' maps {_plain(metrics, 'noun_entropy')}",
            _number("difference", metrics, "relation_over_noun_entropy", signed=True),
        ),
        "the interval of the difference lies above 0",
    )


def _relation_sees_both(metrics: Metrics) -> Claim | None:
    if metrics.get("relation_lesser_mass") is None:
        return None
    return Claim(
        "Words such as \u201cnext to\u201d look at both objects rather than at one.",
        _above(metrics, "relation_over_noun_lesser_mass", 0),
        (
            f"share of their maps on the object that gets less {metrics['relation_lesser_mass']:.2f}",
            f"of nouns' maps {_plain(metrics, 'noun_lesser_mass')}",
            _number("difference", metrics, "relation_over_noun_lesser_mass", signed=True),
        ),
        "the interval of the difference lies above 0",
    )


def _above(metrics: Metrics, key: str, bound: float) -> Verdict:
    low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
    if low is None or high is None or low <= bound <= high:
        return "cannot be said"
    return "supported" if low > bound else "not supported"


def _number(label: str, metrics: Metrics, key: str, signed: bool = False) -> str:
    value, low, high = (metrics.get(f"{key}{end}") for end in ("", "_low", "_high"))
    form = "+.2f" if signed else ".2f"
    if value is None:
        return f"{label} not measured"
    interval = f" [{low:{form}}, {high:{form}}]" if low is not None and high is not None else ", without an interval"
    return f"{label} {value:{form}}{interval}"


def _share(label: str, metrics: Metrics, key: str) -> str:
    value, low, high = (metrics.get(f"{key}{end}") for end in ("", "_low", "_high"))
    interval = f" [{low:.1%}, {high:.1%}]" if low is not None and high is not None else ""
    return f"{label} {value:.1%}{interval}"


def _plain(metrics: Metrics, key: str) -> str:
    value = metrics.get(key)
    return "not measured" if value is None else f"{value:.2f}"
