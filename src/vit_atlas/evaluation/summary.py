"""metrics/evaluate.json and its tables from build/predictions.csv, without a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.data.manifest import read_classes
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import read_json
from vit_atlas.io.frames import read_csv
from vit_atlas.io.summary import Summary
from vit_atlas.paths import CONFUSION, EVALUATE_METRICS, PER_CLASS, PREDICTIONS, PROBE_PREDICTIONS, RELIABILITY
from vit_atlas.repeats.seeds import finetune_tables, over_seeds
from vit_atlas.settings import EvaluateSettings, Settings

ENOUGH = 10
"""Test photos of a class below which its own numbers are warned of: the interval of a share of one half of nine photos
is 0.55 wide (Wilson)."""

TEXTS = ("image_id", "path", "split", "class_name", "predicted_name")


def summarise(settings: Settings) -> Summary:
    """Read what the stage evaluate wrote.

    Raises:
        AtlasError: a file is missing or cannot be read.
    """
    predictions, classes = read_csv(PREDICTIONS, "evaluate", TEXTS), read_classes()
    metrics = numbers(predictions, classes, settings.evaluate)
    probe = read_json(PROBE_PREDICTIONS)
    if probe["predictions"] is not None:
        metrics |= _probe(predictions, probe, settings.evaluate)
    metrics |= _trainings(predictions, probe, settings)
    if settings.evaluate.reference_accuracy is not None:
        metrics["reference_accuracy"] = settings.evaluate.reference_accuracy
        metrics["distance_to_reference"] = metrics["accuracy"] - settings.evaluate.reference_accuracy
    confusion = pd.DataFrame({"actual": predictions["class_name"], "predicted": predictions["predicted_name"]})
    tables = {
        CONFUSION: confusion,
        RELIABILITY: reliability_table(predictions, settings.evaluate.calibration_bins),
        PER_CLASS: per_class_table(predictions, classes),
    }
    return Summary(metrics | {"warnings": _warnings(tables[PER_CLASS])}, EVALUATE_METRICS, tables)


def numbers(predictions: pd.DataFrame, classes: Sequence[str], settings: EvaluateSettings) -> dict[str, Any]:
    """Measure predictions.

    Args:
        predictions: as :func:`vit_atlas.evaluation.predict.predict` gives them.
        classes: class names by label.
        settings: bins of the calibration error, resamples and seed of the intervals.

    Returns:
        ``accuracy`` and ``balanced_accuracy`` (mean over classes of the share that is right; resampled within each
        class) with intervals, ``top5_accuracy`` (of all classes, if they are fewer than five), ``macro_f1``, ``ece``
        and ``photos``.

    References:
        Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599
    """
    from sklearn.metrics import f1_score

    correct, labels = predictions["correct"].to_numpy(), predictions["label"].to_numpy()
    bootstrap = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    bins = reliability_table(predictions, settings.calibration_bins)
    error = (bins["accuracy"] - bins["confidence"]).abs() * bins["count"]
    f1 = f1_score(labels, predictions["prediction"], average="macro", zero_division=0)
    return {
        **Estimate.mean(correct, **bootstrap).flat("accuracy"),
        **Estimate.mean_of_groups(correct, labels, **bootstrap).flat("balanced_accuracy"),
        "top5_accuracy": float((predictions["rank"] <= 5).mean()),
        "macro_f1": float(f1),
        "ece": float(error.sum() / len(predictions)),
        "photos": len(predictions),
    }


def reliability_table(predictions: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Compare mean confidence with accuracy in equal bins of confidence, and count photos; empty bins are left out."""
    index = np.clip(np.ceil(predictions["confidence"] * bins).astype(int) - 1, 0, bins - 1)
    grouped = predictions.assign(correct=predictions["correct"].astype(float)).groupby(index.to_numpy())
    named = {"confidence": ("confidence", "mean"), "accuracy": ("correct", "mean"), "count": ("correct", "size")}
    return grouped.agg(**named).reset_index(drop=True)


def per_class_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Measure each class.

    Returns:
        One row a class: class_name, photos, precision (0 for a class that was never guessed), recall with its 95 %
        Wilson interval (a bootstrap of so few photos is too narrow), f1, and taken_for, the commonest wrong guess.
        Recall and f1 are NaN for a class without test photos.

    References:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference
    """
    from scipy.stats import binomtest
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        predictions["label"], predictions["prediction"], labels=range(len(classes)), zero_division=0
    )
    # Counted here: scikit-learn's own counts are no integers where no guess is right.
    photos = np.bincount(predictions["label"], minlength=len(classes))
    wrong = predictions[~predictions["correct"]].groupby("class_name")["predicted_name"]
    taken_for = {name: guesses.mode().iloc[0] for name, guesses in wrong}
    ends = [
        binomtest(round(share * count), count).proportion_ci(method="wilson") if count else (np.nan, np.nan)
        for share, count in zip(recall, photos.tolist(), strict=True)
    ]
    table = {
        "class_name": list(classes),
        "photos": photos,
        "precision": precision,
        "recall": np.where(photos > 0, recall, np.nan),
        "recall_low": [low for low, _ in ends],
        "recall_high": [high for _, high in ends],
        "f1": np.where(photos > 0, f1, np.nan),
        "taken_for": [taken_for.get(name, "") for name in classes],
    }
    return pd.DataFrame(table)


def _probe(predictions: pd.DataFrame, probe: dict[str, Any], settings: EvaluateSettings) -> dict[str, Any]:
    """The probe's accuracy, and by how much the model is better: the same photos are resampled for both (paired)."""
    bootstrap = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    right = predictions["label"] == probe["predictions"]
    gain = predictions["correct"].astype(float) - right
    return {
        **Estimate.mean(right, **bootstrap).flat("probe_accuracy"),
        "probe_c": probe["strength"],
        **Estimate.mean(gain, **bootstrap).flat("accuracy_minus_probe"),
    }


def _trainings(predictions: pd.DataFrame, probe: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Accuracy and its difference to the probe's over all trainings, and of each; nothing where there is one alone."""
    tables = finetune_tables(settings.finetune, predictions, "predictions.csv", TEXTS)
    if len(tables) == 1:
        return {}
    order = predictions["image_id"]
    right = np.stack([table.set_index("image_id").loc[order, "correct"].to_numpy(float) for table in tables.values()])
    values = {"accuracy": right}
    if probe["predictions"] is not None:
        values["accuracy_minus_probe"] = right - (predictions["label"] == probe["predictions"]).to_numpy(float)
    metrics: dict[str, Any] = {"trainings": len(tables)}
    for name, rows in values.items():
        bounds = (0.0, 1.0) if name == "accuracy" else (-1.0, 1.0)
        metrics |= over_seeds(name, rows, settings.evaluate.bootstrap_samples, settings.evaluate.seed, bounds=bounds)
    metrics["by_seed"] = {
        str(seed): {name: float(rows[place].mean()) for name, rows in values.items()}
        for place, seed in enumerate(tables)
    }
    return metrics


def _warnings(per_class: pd.DataFrame) -> list[str]:
    few = per_class[per_class["photos"] < ENOUGH]
    if few.empty:
        return []
    named = [f"`{row.class_name}` ({row.photos})" for row in few.head(8).itertuples()]
    more = f" and {len(few) - len(named)} more" if len(few) > len(named) else ""
    return [
        f"{len(few)} of {len(per_class)} classes have fewer than {ENOUGH} test photos, so their own numbers say "
        f"little: {', '.join(named)}{more}"
    ]
