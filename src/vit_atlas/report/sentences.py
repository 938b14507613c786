"""The course report's sentences, and our own, each with the numbers that speak for or against it, and a verdict.

A verdict follows a rule that the page tells: an interval (95 %) on one side of a bound decides, and one that holds the
bound decides nothing. Neither does a bootstrap of a handful of photos: it cannot know more than they show, and three
that agree give an interval on one side every time. Where there are several trainings, the interval is that over photos
and seeds; where there is one, the verdict is of this training alone, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vit_atlas.estimates import Estimate, Verdict

Metrics = Mapping[str, Any]

STRONG, WEAK = 0.3, 0.1
"""Sizes of a rank correlation from which on it counts, and up to which it does not."""

ENOUGH = 10
"""Photos from which on an interval decides."""

FILES = ("evaluate", "embeddings", "attention", "interventions", "caption")
"""Metrics files that sentences speak of, in their order on the page."""


@dataclass(frozen=True)
class Claim:
    """One sentence and what the numbers say of it."""

    text: str
    verdict: Verdict
    numbers: tuple[str, ...]
    """Readable: what was measured, and its value with its interval."""
    rule: str
    """When it would be supported."""
    scope: str = ""
    """Of what the verdict is: this training, or several; empty where training does not enter."""


@dataclass(frozen=True)
class Sentence:
    """A sentence that is supported where one estimate lies above a bound."""

    file: str
    text: str
    key: str
    """The estimate that decides; ``{winner}`` stands for the best method."""
    shown: tuple[tuple[str, str, str], ...]
    """Numbers beside it: label, key, format."""
    bound: float | str = 0.0
    """A number, or the key of one in the same file."""
    needs: str = ""
    """The key without which the sentence is left out; empty is the first number shown."""
    rule: str = "the interval of the difference lies above 0"
    photos: str = "photos"
    """The key of how many photos the estimate is of."""


SENTENCES = (
    Sentence(
        "evaluate",
        "Fine-tuning is better than a linear probe on the pretrained features.",
        "accuracy_minus_probe",
        (
            ("accuracy", "accuracy", ".1%"),
            ("linear probe", "probe_accuracy", ".1%"),
            ("difference", "accuracy_minus_probe", "+.2f"),
        ),
        needs="probe_accuracy",
    ),
    Sentence(
        "evaluate",
        "The model reaches the reference accuracy, {reference_accuracy:.1%}.",
        "accuracy",
        (("accuracy", "accuracy", ".1%"), ("distance to the reference", "distance_to_reference", "+.3f")),
        bound="reference_accuracy",
        needs="reference_accuracy",
        rule="the interval of the accuracy lies above the reference",
    ),
    Sentence(
        "embeddings",
        "Patches close to each other end with similar tokens.",
        "token_neighbours_over_others",
        (
            ("cosine similarity of neighbours", "token_similarity_neighbours", ".2f"),
            ("of patches farther apart", "token_similarity_others", ".2f"),
            ("difference, photo by photo,", "token_neighbours_over_others", "+.2f"),
            ("rank correlation with distance", "token_rank_correlation", ".2f"),
            ("between tokens of two photos", "token_rank_correlation_between_photos", ".2f"),
        ),
    ),
    Sentence(
        "attention",
        "The attention that the head reads is mostly on the object.",
        "head_mean.mass",
        (
            ("share of attention inside the mask", "head_mean.mass", ".2f"),
            ("mean IoU with the mask", "head_mean.miou", ".2f"),
            ("peak inside the mask", "head_mean.pointing", ".2f"),
        ),
        bound=0.5,
        rule="the interval of the share inside the mask lies above one half",
        photos="photos_scored",
    ),
    Sentence(
        "attention",
        "Attention maps find the object better than a Gaussian in the photo's centre does.",
        "{winner}.miou_over_gaussian",
        (
            ("mean IoU of the best method, {winner},", "{winner}.miou", ".2f"),
            ("of the Gaussian", "gaussian.miou", ".2f"),
            ("difference, photo by photo,", "{winner}.miou_over_gaussian", "+.2f"),
        ),
        needs="{winner}.miou_over_gaussian",
        photos="photos_scored",
    ),
    # The report's "strange emphasis on the left" in four: is there one, where does it lie, and does it matter? The last
    # is asked by interventions.
    Sentence(
        "attention",
        "Most photos have a strange emphasis: patches whose tokens have an outlying norm.",
        "artefacts.present",
        (("share of photos with such patches", "artefacts.present", ".2f"),),
        bound=0.5,
        rule="the interval of the share of photos lies above one half",
        photos="photos_scored",
    ),
    Sentence(
        "attention",
        "The strange emphasis lies beside the object.",
        "artefacts.outside",
        (
            ("share of such patches outside the object", "artefacts.outside", ".2f"),
            ("share of the attention that goes to them", "artefacts.attention", ".2f"),
        ),
        bound=0.5,
        rule="the interval of the share outside the object lies above one half",
        photos="artefacts.photos",
    ),
    Sentence(
        "attention",
        "The strange emphasis is on the left.",
        "artefacts.left",
        (("share of such patches in the left half", "artefacts.left", ".2f"),),
        bound=0.5,
        rule="the interval of the share in the left half lies above one half",
        photos="artefacts.photos",
    ),
    Sentence(
        "interventions",
        "The model needs the object to give its answer.",
        "needs_object",
        (
            ("right on the whole photo", "whole.accuracy", ".1%"),
            ("on the background alone", "background_alone.accuracy", ".1%"),
            ("difference, photo by photo,", "needs_object", "+.2f"),
        ),
        needs="needs_object",
        photos="photos_with_background",
    ),
    Sentence(
        "interventions",
        "The background alone gives the answer (a shortcut).",
        "background_above_chance",
        (
            ("right on the background alone", "background_alone.accuracy", ".1%"),
            ("above guessing the commonest class", "background_above_chance", "+.2f"),
        ),
        needs="background_above_chance",
        photos="photos_with_background",
    ),
    Sentence(
        "interventions",
        "The emphasis beside the object carries the answer.",
        "beside_effect",
        (
            ("photos with an emphasis beside the object", "photos_with_emphasis_beside", ".0f"),
            (
                "fall of the true class's probability without it, beyond that without an equal area",
                "beside_effect",
                "+.3f",
            ),
        ),
        needs="beside_effect",
        photos="photos_with_emphasis_beside",
    ),
    Sentence(
        "caption",
        "For a noun, the captioner looks at the thing that it names.",
        "noun_mass_over_gaussian",
        (
            ("share of a noun's map inside its mask", "noun_mass", ".2f"),
            ("of a centre Gaussian", "noun_mass_gaussian", ".2f"),
            ("difference", "noun_mass_over_gaussian", "+.2f"),
        ),
        photos="photos_with_nouns",
    ),
    Sentence(
        "caption",
        "\u201ca\u201d and its noun have similar maps.",
        "article_noun_over_others",
        (
            ("correlation of an article's map with its noun's", "article_noun_correlation", ".2f"),
            ("of other neighbours", "other_neighbours_correlation", ".2f"),
            ("difference", "article_noun_over_others", "+.2f"),
        ),
        rule="the interval of the difference lies above 0: similar means more alike than neighbours are anyway",
        photos="photos_with_articles",
    ),
    Sentence(
        "caption",
        "Words such as \u201cnext to\u201d do not focus on one object.",
        "relation_over_noun_entropy",
        (
            ("entropy of their maps (1 is spread evenly)", "relation_entropy", ".2f"),
            ("of nouns' maps", "noun_entropy", ".2f"),
            ("difference", "relation_over_noun_entropy", "+.2f"),
        ),
        photos="photos_with_relations",
    ),
    Sentence(
        "caption",
        "Words such as \u201cnext to\u201d look at both objects rather than at one.",
        "relation_over_noun_lesser_mass",
        (
            ("share of their maps on the object that gets less", "relation_lesser_mass", ".2f"),
            ("of nouns' maps", "noun_lesser_mass", ".2f"),
            ("difference", "relation_over_noun_lesser_mass", "+.2f"),
        ),
        photos="photos_with_both_objects",
    ),
)
"""All sentences of this shape, in their order on the page."""


def claims(metrics: Mapping[str, Metrics]) -> list[Claim]:
    """Judge all sentences that the numbers in metrics/*.json (file stem -> content) can speak of."""
    found: list[Claim | None] = []
    for file in FILES:
        content = metrics.get(file, {})
        if file == "embeddings":
            found.append(_close_is_similar(content))
        found += [_judged(sentence, content) for sentence in SENTENCES if sentence.file == file]
    return [claim for claim in found if claim is not None]


def missing(metrics: Mapping[str, Metrics]) -> list[str]:
    """Name the metrics files without which some sentences are left out."""
    return [f"metrics/{name}.json" for name in FILES if name not in metrics]


def _judged(sentence: Sentence, metrics: Metrics) -> Claim | None:
    def named(text: str) -> str:
        return text.replace("{winner}", str(metrics.get("winner")))

    if metrics.get(named(sentence.needs or sentence.shown[0][1])) is None:
        return None
    over = Estimate.read(metrics, f"{named(sentence.key)}_over_seeds")
    estimate = over or Estimate.read(metrics, named(sentence.key)) or Estimate()
    bound = metrics[sentence.bound] if isinstance(sentence.bound, str) else sentence.bound
    numbers = [
        f"{named(label).replace('_', ' ')} {Estimate.read(metrics, named(key)) or Estimate():{form}}"
        for label, key, form in sentence.shown
    ]
    scope = "in this training"
    if over is not None:
        scope = f"over {metrics['trainings']} trainings"
        deviation = metrics[f"{named(sentence.key)}_sd"]
        spread = "" if deviation is None else f", standard deviation {deviation:.3f}"
        decides = f"its mean over {metrics['trainings']} trainings {over:{sentence.shown[-1][2]}}{spread}"
        numbers.append(f"what decides: {decides}")
    verdict, photos = estimate.above(bound), metrics.get(sentence.photos, ENOUGH)
    if photos < ENOUGH:
        verdict = "cannot be said"
        numbers.append(f"too few photos to decide: {photos}, and it takes {ENOUGH}")
    return Claim(sentence.text.format_map(metrics), verdict, tuple(numbers), sentence.rule, scope)


def _close_is_similar(metrics: Metrics) -> Claim | None:
    value, text = metrics.get("rank_correlation_after"), "Patches close to each other have similar position embeddings."
    rule = f"the correlation is {-STRONG} or lower; above {-WEAK} it is refuted"
    if value is None:
        return Claim(text, "cannot be said", (metrics["missing"],), rule) if metrics.get("missing") else None
    verdict: Verdict = "supported" if value <= -STRONG else "not supported" if value >= -WEAK else "cannot be said"
    return Claim(
        text, verdict, (f"rank correlation of similarity with distance {value:.2f}, over all pairs of patches",), rule
    )
