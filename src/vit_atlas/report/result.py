"""The result in words: how good the model is, beside what it has to beat, and what the page cannot show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vit_atlas.attention.methods import METHODS, SANITY
from vit_atlas.estimates import Estimate
from vit_atlas.settings import AttentionSettings

Metrics = Mapping[str, Any]

UNCHANGED = 0.8
"""A map does not change where the interval of its rank correlation with itself lies above this."""

RANKED = 0.05
"""Half-width of an interval up to which methods are ranked by deletion and insertion."""

PARTS = ("prepare", "evaluate", "embeddings", "attention", "interventions", "caption")
"""Metrics files, without their suffix."""


@dataclass(frozen=True)
class Number:
    """A number to read from afar, and what it is."""

    value: str
    name: str
    note: str


def headline(evaluate: Metrics | None, trained_on: int | None = None) -> str:
    """Say in a sentence or two how good the model is, and whether it beats the linear probe beyond chance.

    Args:
        evaluate: its metrics file; None where there is none.
        trained_on: photos of the training split, where that is known.
    """
    if not evaluate:
        return "metrics/evaluate.json is missing: the model has not been evaluated yet."
    accuracy, gain = (Estimate.read(evaluate, name) or Estimate() for name in ("accuracy", "accuracy_minus_probe"))
    training = "" if trained_on is None else f", trained on {trained_on} photos,"
    text = f"The fine-tuned model{training} is right on {accuracy.value:.1%} of {evaluate['photos']} test photos"
    text += f" (95 % interval {accuracy.low:.1%} to {accuracy.high:.1%}). " if accuracy.low is not None else ". "
    if "probe_accuracy" in evaluate:
        text += f"A linear probe on the pretrained features reaches {evaluate['probe_accuracy']:.1%}: "
        text += f"in this training {_comparison(gain)}" if "by_seed" in evaluate else _comparison(gain)
    text += _over_trainings(evaluate)
    if evaluate.get("reference_accuracy") is not None:
        distance = evaluate["distance_to_reference"] * 100
        side = "below" if distance < 0 else "above"
        text += f" The model is {abs(distance):.1f} points {side} the reference, {evaluate['reference_accuracy']:.1%}."
    return text


def numbers(evaluate: Metrics, caption: Metrics) -> list[Number]:
    """The numbers at the top of the page; the distances say so where there is nothing to be distant from."""
    return (_evaluated(evaluate) if evaluate else []) + _captioned(caption)


def _captioned(caption: Metrics) -> list[Number]:
    if caption.get("bleu_4") is None:
        return []
    note = f"CIDEr {caption['cider']:.2f}; on {caption['photos_with_captions']} photos that people captioned"
    return [Number(f"{caption['bleu_4']:.3f}", "captions, BLEU-4", note)]


def _evaluated(evaluate: Metrics) -> list[Number]:
    accuracy, gain = (Estimate.read(evaluate, name) or Estimate() for name in ("accuracy", "accuracy_minus_probe"))
    found = [Number(f"{accuracy.value:.1%}", "test accuracy", _interval(accuracy, "{:.1%}"))]
    balanced = Estimate.read(evaluate, "balanced_accuracy")
    if balanced is not None:
        found.append(Number(f"{balanced.value:.1%}", "balanced accuracy", _interval(balanced, "{:.1%}")))
    if "probe_accuracy" in evaluate:
        points = Estimate(*(end if end is None else end * 100 for end in vars(gain).values()))
        note = f"points; {_interval(points, '{:+.1f}')}; the probe reaches {evaluate['probe_accuracy']:.1%}"
        found.append(Number(f"{points.value:+.1f}", "against the linear probe", note))
    else:
        found.append(Number("\u2013", "against the linear probe", "not fitted: finetune.linear_probe is off"))
    if evaluate.get("reference_accuracy") is not None:
        note = f"points; the reference is {evaluate['reference_accuracy']:.1%}"
        found.append(Number(f"{evaluate['distance_to_reference'] * 100:+.1f}", "against the reference", note))
    else:
        note = "none is set: evaluate.reference_accuracy"
        found.append(Number("\u2013", "against the reference", note))
    return found


def effects(interventions: Metrics) -> list[tuple[str, str]]:
    """Differences that interventions made, each in words with its interval; those that no photo has are left out."""
    names = {
        "needs_object": "accuracy on the whole photo less that on the background alone",
        "object_loss": "accuracy on the whole photo less that on the object alone",
        "background_above_chance": "accuracy on the background alone less that of guessing the commonest class",
        "highlight_effect": "fall of the true class's probability without the highlight, beyond an equal area's",
        "beside_effect": "the same for the part of the highlight beside the object "
        f"({interventions.get('photos_with_emphasis_beside')} photos)",
    }
    known = {key: Estimate.read(interventions, key) for key in names}
    return [(names[key], f"{estimate:+.3f}") for key, estimate in known.items() if estimate is not None]


def faithfulness_note(attention: Metrics) -> str:
    """Say how exact the scores by deletion and insertion are, and whether methods can be ranked by them; or nothing."""
    estimates = [Estimate.read(attention, key) for key in attention if key.endswith(".faithfulness")]
    halves = [(one.high - one.low) / 2 for one in estimates if one and one.low is not None and one.high is not None]
    if not halves:
        return ""
    text = f"By deletion and insertion, on {attention.get('photos_faithfulness')} photos, the interval's half-width is"
    verdict = "methods cannot be ranked by it" if max(halves) > RANKED else "it can rank methods that lie further apart"
    return f"{text} up to {max(halves):.2f}: {verdict}."


@dataclass(frozen=True)
class Sane:
    """How much of a method's map is left after the model was spoiled, and after the photo hardly changed."""

    method: str
    correlations: tuple[str, ...]
    """In the order of :data:`vit_atlas.attention.methods.SANITY`, with intervals; a dash where it says nothing."""
    blind: bool
    """Whether it is a baseline, which knows nothing of the model."""
    flag: str
    """Why the method shows little of the model; empty where it does."""


def sanity(attention: Metrics) -> list[Sane]:
    """The table of sanity checks: methods in their usual order; nothing where none was checked."""
    found = []
    for name, method in METHODS.items():
        estimates = {kind: Estimate.read(attention, f"{name}.{kind}") for kind in SANITY}
        if any(estimates.values()):
            texts = tuple("\u2013" if one is None else f"{one:.2f}" for one in estimates.values())
            kept = [
                SANITY[kind]
                for kind, one in estimates.items()
                if one and kind.startswith("sanity") and one.above(UNCHANGED) == "supported"
            ]
            found.append(
                Sane(method.label, texts, method.baseline, f"does not change: {', '.join(kept)}" if kept else "")
            )
    return found


def unscored(settings: AttentionSettings) -> str:
    """Say why no map is scored against outlines, where none is."""
    return (
        "no test photo has an object mask that could tell maps apart"
        if settings.scored_photos
        else "attention.scored_photos is 0"
    )


def missing_parts(
    metrics: Mapping[str, Metrics], attention: Any, captions: Any, settings: AttentionSettings
) -> list[str]:
    """One sentence for each part that the page leaves out."""
    found = [f"metrics/{name}.json is missing: `dvc repro metrics` writes it." for name in PARTS if name not in metrics]
    if metrics.get("prepare", {}).get("classes") == 1:
        found.append("There is one class only, so every guess is right, and accuracy and confusion say nothing.")
    scored = metrics.get("attention", {}).get("photos_scored")
    if attention is not None and scored == 0:
        found.append(f"No map is scored: {unscored(settings)}.")
    if captions is not None and not any(photo["references"] for photo in captions["photos"]):
        found.append("Nobody captioned the photos of data/captioning, so captions are shown but not measured.")
    return found


def _interval(estimate: Estimate, form: str) -> str:
    if estimate.low is None:
        return "without an interval"
    return f"95 % interval {form.format(estimate.low)} to {form.format(estimate.high)}"


def _over_trainings(evaluate: Metrics) -> str:
    """The mean over several trainings, and its difference to the probe, where there are several."""
    over, gain = (Estimate.read(evaluate, f"{name}_over_seeds") for name in ("accuracy", "accuracy_minus_probe"))
    if over is None:
        return ""
    text = f" The mean of {evaluate['trainings']} trainings with other seeds is {over:.3f}"
    if evaluate.get("accuracy_sd") is not None:
        text += f", their standard deviation {evaluate['accuracy_sd']:.3f}"
    if gain is None:
        return f"{text} (brackets: 95 % interval over photos and seeds)."
    verdict = {
        "supported": "fine-tuning is better than the probe",
        "not supported": "fine-tuning is worse than the probe",
        "cannot be said": "the two cannot be told apart",
    }
    return f"{text}; less the probe's it is {gain:+.3f}: over photos and seeds {verdict[gain.above(0)]}."


def _comparison(gain: Estimate) -> str:
    if gain.low is None or gain.high is None:
        return "one photo cannot tell the two apart."
    interval = f"(95 % interval of the difference {gain.low * 100:+.1f} to {gain.high * 100:+.1f} points)"
    verdict = {
        "supported": "fine-tuning is better {}.",
        "not supported": "fine-tuning is worse {}.",
        "cannot be said": "on these photos the two cannot be told apart {}.",
    }
    return verdict[gain.above(0)].format(interval)
