"""The result in words: how good the model is, beside what it has to beat, and what the page cannot show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]

STAGES = {
    "prepare": "prepare",
    "evaluate": "evaluate",
    "embeddings": "embed-viz",
    "attention": "attn-viz",
    "caption": "caption-attn",
}
"""Metrics files and the stages that write them."""


@dataclass(frozen=True)
class Number:
    """A number to read from afar, and what it is."""

    value: str
    name: str
    note: str


def headline(evaluate: Metrics | None) -> str:
    """Say in a sentence or two how good the model is, and whether it beats the linear probe beyond chance."""
    if not evaluate:
        return "metrics/evaluate.json is missing: the model has not been evaluated yet."
    text = (
        f"The fine-tuned model is right on {evaluate['accuracy']:.1%} of {evaluate['photos']} test photos "
        f"(95 % interval {evaluate['accuracy_low']:.1%} to {evaluate['accuracy_high']:.1%}). "
    )
    if "probe_accuracy" in evaluate:
        text += f"A linear probe on the pretrained features reaches {evaluate['probe_accuracy']:.1%}: "
        text += _comparison(evaluate["accuracy_minus_probe_low"], evaluate["accuracy_minus_probe_high"])
    if evaluate.get("reference_accuracy") is not None:
        distance = evaluate["distance_to_reference"] * 100
        side = "below" if distance < 0 else "above"
        text += f" The model is {abs(distance):.1f} points {side} the reference, {evaluate['reference_accuracy']:.1%}."
    return text


def numbers(evaluate: Metrics) -> list[Number]:
    """The numbers at the top of the page; the distances say so where there is nothing to be distant from."""
    if not evaluate:
        return []
    low, high = evaluate["accuracy_low"], evaluate["accuracy_high"]
    found = [Number(f"{evaluate['accuracy']:.1%}", "test accuracy", f"95 % interval {low:.1%} to {high:.1%}")]
    if "probe_accuracy" in evaluate:
        difference = (evaluate["accuracy"] - evaluate["probe_accuracy"]) * 100
        low, high = (evaluate[f"accuracy_minus_probe_{end}"] * 100 for end in ("low", "high"))
        note = f"points; 95 % interval {low:+.1f} to {high:+.1f}; the probe reaches {evaluate['probe_accuracy']:.1%}"
        found.append(Number(f"{difference:+.1f}", "against the linear probe", note))
    else:
        found.append(Number("\u2013", "against the linear probe", "not fitted: evaluate.linear_probe is off"))
    if evaluate.get("reference_accuracy") is not None:
        note = f"points; the reference is {evaluate['reference_accuracy']:.1%}"
        found.append(Number(f"{evaluate['distance_to_reference'] * 100:+.1f}", "against the reference", note))
    else:
        note = "none is set: evaluate.reference_accuracy"
        found.append(Number("\u2013", "against the reference", note))
    return found


def missing_parts(metrics: Mapping[str, Metrics], attention: Any, captions: Any) -> list[str]:
    """One sentence for each part that the page leaves out."""
    found = [
        f"metrics/{name}.json is missing: `dvc repro {stage}` writes it."
        for name, stage in STAGES.items()
        if name not in metrics
    ]
    if metrics.get("prepare", {}).get("classes") == 1:
        found.append("There is one class only, so every guess is right, and accuracy and confusion say nothing.")
    scored = metrics.get("attention", {}).get("photos_scored")
    if attention is not None and (scored == 0 or all(photo["outline"] is None for photo in attention["photos"])):
        found.append("The photos have no object masks, so there are no outlines, and no map is scored against them.")
    if captions is not None and not any(photo["references"] for photo in captions["photos"]):
        found.append("Nobody captioned the photos of data/captioning, so captions are shown but not measured.")
    return found


def _comparison(low: float, high: float) -> str:
    interval = f"(95 % interval of the difference {low * 100:+.1f} to {high * 100:+.1f} points)"
    if low > 0:
        return f"fine-tuning is better {interval}."
    if high < 0:
        return f"fine-tuning is worse {interval}."
    return f"on these photos the two cannot be told apart {interval}."
