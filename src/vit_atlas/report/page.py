"""Gathering what the stages wrote and putting it on one page; what is missing is said, not hidden."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vit_atlas import paths
from vit_atlas.attention.methods import SANITY
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import read_json
from vit_atlas.io.frames import read_csv
from vit_atlas.provenance import METRICS
from vit_atlas.report import charts, explore, inline
from vit_atlas.report.facts import facts, why_captions, why_photos
from vit_atlas.report.gallery import gallery, left_out, mistakes, read_gallery
from vit_atlas.report.payload import plain, records
from vit_atlas.report.pictures import Picture, picture
from vit_atlas.report.result import (
    UNCHANGED,
    effects,
    faithfulness_note,
    headline,
    missing_parts,
    numbers,
    sanity,
    unscored,
)
from vit_atlas.report.sentences import claims, missing
from vit_atlas.settings import Settings

Metrics = dict[str, Any]


def render_report(settings: Settings, project: Path = Path()) -> str:
    """Render the page for the result in the current folder as HTML, with the ``settings`` that it was made with.

    ``project`` is where its code is.

    Raises:
        AtlasError: a file that is there cannot be read.
    """
    metrics = {path.stem: read_json(path) for path in sorted(METRICS.glob("*.json"))}
    attention, captions = explore.attention(metrics.get("attention", {})), explore.captions()
    evaluate = metrics.get("evaluate", {})
    photos = read_gallery()
    shown = gallery(photos, settings.evaluate.calibration_bins)
    captions_on = settings.captioner.kind != "none"
    return render(
        "page.html",
        inline.SCRIPTS,
        chart_library=inline.chart_library(),
        headline=headline(metrics.get("evaluate"), metrics.get("prepare", {}).get("train")),
        cards=numbers(evaluate, metrics.get("caption", {})),
        evaluate=evaluate,
        claims=claims(metrics),
        claims_missing=missing(metrics),
        attention=attention,
        pairs=explore.pairs(),
        masks=metrics.get("attention", {}).get("photos_scored"),
        readout=metrics.get("attention", {}).get("readout"),
        embeddings=explore.embeddings(),
        moved=metrics.get("embeddings", {}).get("relative_change"),
        no_positions=metrics.get("embeddings", {}).get("missing"),
        locality_photos=metrics.get("embeddings", {}).get("photos"),
        captions=captions,
        captions_on=captions_on,
        captions_warnings=metrics.get("caption", {}).get("warnings", []),
        charts={
            "result": charts.result(evaluate),
            "trainings": charts.trainings(metrics),
            "loss": charts.loss(),
            "validation": charts.validation_accuracy(),
            "confusion": charts.confusion(),
            "reliability": charts.reliability(),
            "distance": charts.similarity_by_distance(),
            "tokens": charts.token_similarity(),
            "attention_distance": charts.attention_distance(),
        },
        scores=charts.method_scores(metrics.get("attention", {})),
        faithfulness_note=faithfulness_note(metrics.get("attention", {})),
        sanity=sanity(metrics.get("attention", {})),
        sanity_kinds=SANITY,
        unchanged=UNCHANGED,
        photos_sanity=metrics.get("attention", {}).get("photos_sanity"),
        interventions=metrics.get("interventions", {}),
        answers=charts.intervention_accuracy(metrics.get("interventions", {})),
        effects=effects(metrics.get("interventions", {})),
        pictures=_pictures(),
        mistakes=mistakes(photos),
        gallery=shown,
        gallery_left_out=left_out(shown, metrics.get("prepare", {})),
        classes=_per_class(),
        warnings=evaluate.get("warnings", []),
        tables={name: rows(content) for name, content in metrics.items() if captions_on or name != "caption"},
        facts=facts(settings, metrics.get("prepare", {}), project),
        why_photos=why_photos(settings.attention),
        why_captions=why_captions(settings.captions),
        settings=settings.model_dump(mode="json"),
        missing_parts=missing_parts(metrics, attention, captions, settings.attention),
        unscored=unscored(settings.attention),
    )


def render(template: str, scripts: Sequence[str], styles: Sequence[str] = (), **content: Any) -> str:
    """Render a page in the frame that all of them have: one file, with a policy that lets nothing in from outside.

    Args:
        template: a file of templates/ that extends shell.html.
        scripts: those of scripts/ that the page needs, in the order in which they run.
        styles: style sheets beside those of all pages.
        content: what the template shows.
    """
    environment = Environment(
        loader=PackageLoader("vit_atlas.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # Of 100,000 photos, spaces are a megabyte.
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    frame = {"style": inline.style(styles), "scripts": inline.scripts(scripts), "palettes": inline.palettes()}
    return environment.get_template(template).render(frame | content)


def rows(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Flatten one metrics file into names and readable values; of a long list only its length is told."""
    if isinstance(content, dict):
        return [row for key, value in content.items() for row in rows(value, f"{prefix}{key}".strip() + " ")]
    name = prefix.strip().replace("_", " ")
    if isinstance(content, list):
        short = len(content) <= 8 and not any(isinstance(item, dict | list) for item in content)
        return [(name, ", ".join(map(str, content)) if short and content else f"{len(content)} entries")]
    return [(name, f"{content:.4g}" if isinstance(content, float) else "none" if content is None else str(content))]


def _pictures() -> dict[str, Picture | None]:
    return {
        "interventions": picture(
            paths.INTERVENTION_PICTURE, "What is left of each photo, and the probability of its class: green is right"
        ),
        "suspects": picture(paths.SUSPECTS_PICTURE, "The labels that are doubted most, the worst first"),
        "bias": picture(
            paths.EMBEDDING_PLOTS / "bias.png",
            "What is added to attention by relative position, in every layer and head",
        ),
        "by_class": picture(paths.ATTENTION_PLOTS / "by_class.png", "Mean IoU of every method by class"),
    }


def _per_class() -> list[dict[str, Any]]:
    if not paths.PER_CLASS.is_file():
        return []
    classes = read_csv(paths.PER_CLASS, "metrics", ("class_name", "taken_for"))
    table = plain(records(classes.sort_values("recall", kind="stable")))
    return [
        row | {"share": (row["recall"] or 0) * 100, "recall": f"{Estimate.read(row, 'recall') or Estimate():.3f}"}
        for row in table
    ]
