"""Gathering what the stages wrote and putting it on one page; what is missing is said, not hidden."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from vit_atlas import __version__, paths
from vit_atlas.files import read_json
from vit_atlas.provenance import METRICS, Commit, data_hash, read_commit, read_lock
from vit_atlas.report.pictures import Picture, picture_of_figure, pictures_in
from vit_atlas.settings import ModelSettings, Section


@dataclass(frozen=True)
class Chapter:
    """A heading, a sentence under it, and its pictures."""

    title: str
    text: str
    pictures: list[Picture]


def render_report(settings: Sequence[Section]) -> str:
    """Render the page for the result in the current folder as HTML; it shows the sections of ``settings``.

    Raises:
        AtlasError: a file that is there cannot be read.
    """
    environment = Environment(
        loader=PackageLoader("vit_atlas.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metrics = {path.stem: read_json(path) for path in sorted(METRICS.glob("*.json"))}
    stages = read_lock()
    return environment.get_template("page.html").render(
        version=__version__,
        headline=headline(metrics.get("evaluate")),
        chapters=_chapters(),
        tables={name: _rows(content) for name, content in metrics.items()},
        classes=_per_class(),
        facts=_facts(settings, metrics, data_hash(stages), read_commit()),
        settings={_name(section): section.model_dump(mode="json").items() for section in settings},
    )


def headline(evaluate: dict[str, Any] | None) -> str:
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
    if "reference_accuracy" in evaluate:
        distance = evaluate["distance_to_reference"] * 100
        side = "below" if distance < 0 else "above"
        text += f" That is {abs(distance):.1f} points {side} the reference, {evaluate['reference_accuracy']:.1%}."
    return text


def _comparison(low: float, high: float) -> str:
    interval = f"(95 % interval of the difference {low * 100:+.1f} to {high * 100:+.1f} points)"
    if low > 0:
        return f"fine-tuning is better {interval}."
    if high < 0:
        return f"fine-tuning is worse {interval}."
    return f"on these photos the two cannot be told apart {interval}."


def _chapters() -> list[Chapter]:
    from vit_atlas.figures.tables import table_figures

    drawn = {name: picture_of_figure(figure, name) for name, figure in table_figures().items()}
    mistakes = pictures_in(paths.MISTAKES.parent)
    return [
        Chapter("Training", "Loss and validation accuracy while fine-tuning.", _present(drawn, "training_curves")),
        Chapter(
            "What it gets wrong",
            "Classes taken for each other, whether the confidence is deserved, and the most confident mistakes.",
            [*_present(drawn, "confusion", "reliability"), *mistakes],
        ),
        Chapter(
            "Where it looks",
            "The class token's attention over the photo, other ways to draw a map, and how each scores against masks.",
            pictures_in(paths.ATTENTION_PLOTS),
        ),
        Chapter(
            "What its position embeddings know",
            "The similarity of every patch's position embedding with all others, before and after fine-tuning.",
            pictures_in(paths.EMBEDDING_PLOTS),
        ),
        Chapter(
            "Where it looks for every word",
            "A caption, and for each of its words the part of the photo that helped to predict it.",
            pictures_in(paths.CAPTION_PLOTS),
        ),
    ]


def _present(drawn: dict[str, Picture], *names: str) -> list[Picture]:
    return [drawn[name] for name in names if name in drawn]


def _rows(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Flatten one metrics file into names and readable values; of a long list only its length is told."""
    if isinstance(content, dict):
        return [row for key, value in content.items() for row in _rows(value, f"{prefix}{key}".strip() + " ")]
    name = prefix.strip().replace("_", " ")
    if isinstance(content, list):
        short = len(content) <= 8 and not any(isinstance(item, dict | list) for item in content)
        return [(name, ", ".join(map(str, content)) if short and content else f"{len(content)} entries")]
    return [(name, f"{content:.4g}" if isinstance(content, float) else str(content))]


def _per_class() -> list[dict[str, Any]]:
    if not paths.PER_CLASS.is_file():
        return []
    table = pd.read_csv(paths.PER_CLASS, keep_default_na=False)
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _name(section: Section) -> str:
    return type(section).__name__.removesuffix("Settings").lower()


def _facts(
    settings: Sequence[Section], metrics: dict[str, Any], data: str | None, commit: Commit | None
) -> list[tuple[str, str]]:
    changed = " with uncommitted changes" if commit and commit.dirty else ""
    facts = [("Pretrained model", section.name) for section in settings if isinstance(section, ModelSettings)]
    facts += [
        ("Photos (DVC's hash)", data or "unknown: data/ is not tracked by DVC"),
        ("Code", f"commit {commit.sha[:12]}{changed}" if commit else "not under git"),
    ]
    names = ("prepare", "evaluate", "embeddings", "attention", "caption")
    missing = [f"metrics/{name}.json" for name in names if name not in metrics]
    return facts + ([("Missing", ", ".join(missing))] if missing else [])
