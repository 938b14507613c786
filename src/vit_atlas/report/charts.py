"""Charts as Vega-Lite specifications. Colours are the page's own variables, so that they follow light and dark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vit_atlas import paths
from vit_atlas.attention.methods import FAITHFULNESS, METHODS, SCORES
from vit_atlas.data.manifest import read_classes
from vit_atlas.estimates import Estimate
from vit_atlas.io.frames import read_csv
from vit_atlas.report.explore import attention_distances, distance_rows, method_label, token_rows
from vit_atlas.report.payload import plain, records

Spec = dict[str, Any]
Metrics = Mapping[str, Any]

READABLE = 20
"""With more classes than this, the confusion has no counts in its cells."""
DRAWN = 100
"""Of more classes than this, the confusion shows those with the most mistakes."""

FIRST, SECOND, MUTED = "var(--series-1)", "var(--series-2)", "var(--muted)"


def result(evaluate: Metrics) -> Spec | None:
    """Accuracy of model and probe with their intervals, and the reference."""
    rows = [_interval("fine-tuned model", evaluate, "accuracy"), _interval("linear probe", evaluate, "probe_accuracy")]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return None
    y = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 200}}
    x = {"type": "quantitative", "title": "share of test photos that are right", "scale": {"zero": False, "nice": True}}
    layers: list[Spec] = _points(x, y)
    if "by_seed" in evaluate:
        name = f"mean of {evaluate['trainings']} trainings"
        rows.append(_interval(name, evaluate, "accuracy_over_seeds"))
        layers.append(_seeds(_by_seed(name, evaluate, "accuracy"), x, y))
    if evaluate.get("reference_accuracy") is not None:
        layers.append(
            {
                "data": {"values": [{"reference": evaluate["reference_accuracy"]}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "color": SECOND, "tooltip": True},
                "encoding": {"x": {**x, "field": "reference"}},
            }
        )
    text = "Accuracy with its 95 % interval: " + ", ".join(f"{row['name']} {row['value']:.3f}" for row in rows)
    return _chart(text, rows, {"height": 34 * len(rows), "layer": layers})


def trainings(metrics: Mapping[str, Metrics]) -> Spec | None:
    """Differences that sentences rest on: the mean over trainings with its interval, and every training as a dot."""
    winner = metrics.get("attention", {}).get("winner")
    wanted = {
        "fine-tuned less probe, accuracy": ("evaluate", "accuracy_minus_probe"),
        "best map less Gaussian, IoU": ("attention", f"{winner}.miou_over_gaussian"),
        "noun's map less Gaussian, mass": ("caption", "noun_mass_over_gaussian"),
        "\u201ca\u201d with noun less others, correlation": ("caption", "article_noun_over_others"),
        "relation less noun, entropy": ("caption", "relation_over_noun_entropy"),
        "relation less noun, lesser mass": ("caption", "relation_over_noun_lesser_mass"),
    }
    rows, dots = [], []
    for name, (file, key) in wanted.items():
        row = _interval(name, metrics.get(file, {}), f"{key}_over_seeds")
        if row["value"] is not None:
            rows.append(row)
            dots += _by_seed(name, metrics[file], key)
    if not rows:
        return None
    y = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260}}
    x = {"type": "quantitative", "title": "difference; right of 0 the sentence is supported"}
    zero: Spec = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "strokeDash": [4, 3], "color": MUTED},
        "encoding": {"x": {**x, "field": "zero"}},
    }
    said = ", ".join(f"{row['name']} {row['value']:+.3f}" for row in rows)
    text = f"Every training is a circle; the mean over trainings with its 95 % interval over photos and seeds: {said}"
    return _chart(text, rows, {"height": 30 * len(rows), "layer": [zero, *_points(x, y), _seeds(dots, x, y)]})


def intervention_accuracy(interventions: Metrics) -> Spec | None:
    """Accuracy on the whole photo, on the object alone, and on the background alone, with their intervals."""
    names = {"whole": "whole photo", "object_alone": "object alone", "background_alone": "background alone"}
    rows = [_interval(name, interventions, f"{key}.accuracy") for key, name in names.items()]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return None
    y = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 200}}
    x = {"type": "quantitative", "title": "share of photos that are right", "scale": {"domain": [0, 1]}}
    text = "Accuracy: " + ", ".join(f"{row['name']} {row['value']:.2f}" for row in rows)
    return _chart(text, rows, {"height": 34 * len(rows), "layer": _points(x, y)})


def loss() -> Spec | None:
    """Training and validation loss by step."""
    history = _history()
    if history is None:
        return None
    rows = _series(history, {"train_loss": "training", "val_loss": "validation"})
    return _lines("Loss while fine-tuning", rows, "cross-entropy", {"zero": True})


def validation_accuracy() -> Spec | None:
    """Validation accuracy by step."""
    history = _history()
    rows = [] if history is None else _series(history, {"val_accuracy": "validation"})
    return _lines("Validation accuracy while fine-tuning", rows, "accuracy", {"domain": [0, 1]}) if rows else None


def confusion() -> Spec | None:
    """Which class was taken for which, as a share of each true class."""
    table = _table(paths.CONFUSION, ("actual", "predicted"))
    if table is None or table.empty:
        return None
    known = read_classes() if paths.CLASSES.is_file() else sorted({*table["actual"], *table["predicted"]})
    counts = table.groupby(["actual", "predicted"]).size().reset_index(name="photos")
    counts["share"] = counts["photos"] / counts.groupby("actual")["photos"].transform("sum")
    few = _most_mistaken(counts, known)
    rows = records(counts[counts["actual"].isin(few) & counts["predicted"].isin(few)])
    axes: dict[str, Spec] = {
        "x": {"field": "predicted", "type": "nominal", "sort": few, "title": "predicted class"},
        "y": {"field": "actual", "type": "nominal", "sort": few, "title": "actual class"},
    }
    for axis in axes.values():
        axis |= {"scale": {"domain": few}, "axis": {"labelLimit": 90, "domain": False, "ticks": False}}
    axes["x"]["axis"] |= {"labelAngle": -50}
    tooltip = [{"field": name, "type": kind} for name, kind in (("actual", "nominal"), ("predicted", "nominal"))]
    tooltip.append({"field": "photos", "type": "quantitative"})
    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "fill": FIRST, "cornerRadius": 2},
            "encoding": {
                **axes,
                "fillOpacity": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "range": [0.08, 1]},
                    "legend": None,
                },
                "tooltip": tooltip,
            },
        }
    ]
    if len(few) <= READABLE:
        ink = {"condition": {"test": "datum.share > 0.55", "value": "var(--paper)"}, "value": "var(--ink)"}
        layers.append(
            {
                "mark": {"type": "text", "fontSize": 11},
                "encoding": {**axes, "text": {"field": "photos"}, "color": ink, "tooltip": tooltip},
            }
        )
        size: Spec = {"height": 40 + 26 * len(few)}
    else:
        size = {"width": {"step": 15}, "height": {"step": 15}}
    right = int(counts.loc[counts["actual"] == counts["predicted"], "photos"].sum())
    text = f"Confusion matrix of {len(table)} test photos in {len(known)} classes; {right} lie on the diagonal"
    if len(few) < len(known):
        text += f". Shown are the {len(few)} classes with the most mistakes"
    return _chart(text, rows, {**size, "layer": layers})


def _most_mistaken(counts: pd.DataFrame, known: list[str]) -> list[str]:
    """At most :data:`DRAWN` classes, those with the most mistakes, in their usual order."""
    wrong = counts[counts["actual"] != counts["predicted"]]
    mistakes = wrong.groupby("actual")["photos"].sum().add(wrong.groupby("predicted")["photos"].sum(), fill_value=0)
    ranked = sorted(known, key=lambda name: -mistakes.get(name, 0))
    kept = set(ranked[:DRAWN])
    return [name for name in known if name in kept]


def reliability() -> Spec | None:
    """Accuracy against confidence, one point a bin."""
    table = _table(paths.RELIABILITY)
    if table is None or table.empty:
        return None
    x = {
        "field": "confidence",
        "type": "quantitative",
        "title": "mean confidence of the bin",
        "scale": {"domain": [0, 1]},
    }
    y = {"field": "accuracy", "type": "quantitative", "title": "accuracy in the bin", "scale": {"domain": [0, 1]}}
    diagonal = [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]
    size = {"field": "count", "type": "quantitative", "title": "photos", "scale": {"range": [20, 300]}, "legend": None}
    layers = [
        {
            "data": {"values": diagonal},
            "mark": {"type": "line", "strokeDash": [4, 3], "color": MUTED},
            "encoding": {"x": x, "y": y},
        },
        {"mark": {"type": "line", "color": FIRST}, "encoding": {"x": x, "y": y}},
        {
            "mark": {"type": "point", "filled": True, "color": FIRST, "opacity": 0.85, "tooltip": {"content": "data"}},
            "encoding": {"x": x, "y": y, "size": size},
        },
    ]
    text = "Reliability: accuracy against confidence; on the dashed diagonal the confidence is deserved"
    return _chart(text, records(table), {"height": 260, "layer": layers})


def method_scores(attention: Metrics) -> list[Spec]:
    """One chart a score: every map method with its interval, the best mean IoU first."""
    order = sorted(METHODS.values(), key=lambda method: -(attention.get(f"{method.name}.miou") or -1.0))
    found = []
    for score, title in {**SCORES, "faithfulness": FAITHFULNESS}.items():
        labelled = [(method_label(method.name, attention), method) for method in order]
        rows = [
            _interval(label, attention, f"{method.name}.{score}") | {"blind": method.baseline}
            for label, method in labelled
        ]
        rows = [row for row in rows if row["value"] is not None]
        if rows:
            y = {"field": "name", "type": "nominal", "sort": None, "title": None}
            x = {"type": "quantitative", "title": title}
            text = f"{title}, with 95 % intervals: " + ", ".join(f"{row['name']} {row['value']:.2f}" for row in rows)
            found.append(_chart(text, rows, {"height": 22 * len(rows), "layer": _points(x, y)}, caption=title))
    return found


def similarity_by_distance() -> Spec | None:
    """Cosine similarity of position embeddings against the patches' distance, with the middle 80 % of the pairs."""
    return _by_distance(distance_rows(), "position embeddings")


def token_similarity() -> Spec | None:
    """The same of the tokens of photos after the last block."""
    return _by_distance(token_rows(), "patch tokens after the last block")


def attention_distance() -> Spec | None:
    """How far every head looks, layer by layer."""
    found = attention_distances()
    if found is None:
        return None
    distances, even = found
    rows = [
        {"layer": layer + 1, "head": head + 1, "distance": round(float(value), 3)}
        for layer, heads in enumerate(distances)
        for head, value in enumerate(heads)
    ]
    x = {
        "field": "layer",
        "type": "quantitative",
        "title": "layer",
        "axis": {"tickMinStep": 1},
        "scale": {"domain": [0.5, len(distances) + 0.5], "nice": False},
    }
    y: Spec = {"field": "distance", "type": "quantitative", "title": "mean attention distance in patches"}
    layers = [
        {
            "data": {"values": [{"distance": even}]},
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": SECOND},
            "encoding": {"y": y},
        },
        {"mark": {"type": "line", "color": FIRST}, "encoding": {"x": x, "y": {**y, "aggregate": "mean"}}},
        {
            "mark": {"type": "circle", "color": FIRST, "opacity": 0.6, "size": 40},
            "encoding": {"x": x, "y": y, "tooltip": [{"field": name} for name in ("layer", "head", "distance")]},
        },
    ]
    text = f"How far every head looks, and the mean of the layer; dashed: even attention, {even:.1f} patches"
    return _chart(text, rows, {"height": 260, "layer": layers})


def _by_distance(rows: list[dict[str, Any]], what: str) -> Spec | None:
    if not rows:
        return None
    names = list(dict.fromkeys(row["when"] for row in rows))
    x = {"field": "distance", "type": "quantitative", "title": "distance in patches"}
    colour = {
        "field": "when",
        "type": "nominal",
        "title": None,
        "scale": {"domain": names, "range": [SECOND, FIRST][-len(names) :]},
        "legend": {"orient": "top", "symbolOpacity": 1} if len(names) > 1 else None,
    }
    y: Spec = {"type": "quantitative", "title": "cosine similarity", "scale": {"zero": False}}
    layers = [
        {
            "mark": {"type": "area", "opacity": 0.18},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
        },
        {
            "mark": {"type": "line", "tooltip": {"content": "data"}},
            "encoding": {
                "x": x,
                "y": {**y, "field": "mean"},
                "color": colour,
                "strokeDash": {**colour, "scale": {"domain": names, "range": [[5, 4], [1, 0]][-len(names) :]}},
            },
        },
    ]
    text = f"Mean cosine similarity of {what} by distance; the band holds the middle 80 % of all pairs"
    return _chart(text, rows, {"height": 260, "layer": layers})


def _points(x: Spec, y: Spec) -> list[Spec]:
    common = {
        "y": y,
        "color": {"condition": {"test": "datum.blind", "value": MUTED}, "value": FIRST},
        "tooltip": [{"field": name} for name in ("name", "value", "low", "high")],
    }
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **common},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
            "encoding": {"x": {**x, "field": "value"}, **common},
        },
    ]


def _by_seed(name: str, metrics: Metrics, key: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": found.get(key), "seed": seed} for seed, found in metrics["by_seed"].items()]


def _seeds(dots: list[dict[str, Any]], x: Spec, y: Spec) -> Spec:
    """Every training as an open circle, its seed in the tooltip."""
    return {
        "data": {"values": dots},
        "mark": {"type": "point", "filled": False, "size": 45, "color": SECOND, "opacity": 0.9},
        "encoding": {
            "x": {**x, "field": "value"},
            "y": y,
            "tooltip": [{"field": field} for field in ("name", "seed", "value")],
        },
    }


def _lines(text: str, rows: list[dict[str, Any]], title: str, scale: Spec) -> Spec:
    colours = {"training": FIRST, "validation": SECOND}
    present = [name for name in colours if any(row["series"] == name for row in rows)]
    steps = {"format": "d", "tickMinStep": 1}
    encoding = {
        "x": {"field": "step", "type": "quantitative", "title": "training step", "axis": steps},
        "y": {"field": "value", "type": "quantitative", "title": title, "scale": scale},
        "color": {
            "field": "series",
            "type": "nominal",
            "title": None,
            "scale": {"domain": present, "range": [colours[name] for name in present]},
            # A single line is named by the chart's own caption.
            "legend": {"orient": "top"} if len(present) > 1 else None,
        },
    }
    dots = {
        "transform": [{"filter": "datum.series == 'validation'"}],
        "mark": {"type": "point", "filled": True, "size": 50, "tooltip": {"content": "data"}},
        "encoding": encoding,
    }
    layers = [{"mark": {"type": "line", "strokeWidth": 1.6}, "encoding": encoding}, dots]
    return _chart(text, rows, {"height": 240, "layer": layers})


def _chart(text: str, rows: list[dict[str, Any]], rest: Spec, caption: str = "") -> Spec:
    """Put a chart together; ``text`` describes it to those who do not see it, ``caption`` stands under it."""
    notes = {"caption": caption or text}
    return plain({"description": text, "usermeta": notes, "width": "container", "data": {"values": rows}, **rest})


def _interval(name: str, metrics: Metrics, key: str) -> dict[str, Any]:
    return {"name": name, **vars(Estimate.read(metrics, key) or Estimate())}


def _series(history: pd.DataFrame, columns: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for column, name in columns.items():
        if column in history:
            known = history.dropna(subset=[column])
            steps = zip(known["step"], known[column], strict=True)
            rows += [{"step": int(step), "value": float(value), "series": name} for step, value in steps]
    return rows


def _history() -> pd.DataFrame | None:
    return read_csv(paths.HISTORY, "finetune") if paths.HISTORY.is_file() else None


def _table(path: Path, names: Sequence[str] = ()) -> pd.DataFrame | None:
    return read_csv(path, "metrics", names) if path.is_file() else None
