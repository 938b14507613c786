"""metrics/attention.json and its table from build/attention, without a model: flat, ``method.score``, the same keys."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.attention.methods import CUT, LEVELS, METHODS, SCORES, sanity_of, without_baselines
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import read_json
from vit_atlas.io.frames import read_csv
from vit_atlas.io.summary import Summary
from vit_atlas.paths import (
    ATTENTION_DATA,
    ATTENTION_METRICS,
    ATTENTION_SCORES,
    EMBEDDING_NUMBERS,
    EMBEDDINGS_METRICS,
)
from vit_atlas.settings import AttentionSettings, Settings

Metrics = dict[str, Any]


def summarise(settings: Settings) -> Summary:
    """Read what the stage attn-viz wrote.

    Raises:
        AtlasError: a file is missing or cannot be read.
    """
    scores = read_csv(ATTENTION_DATA / "scores.csv", "attn-viz", ("image_id", "class_name", "method"))
    outliers = read_csv(ATTENTION_DATA / "outliers.csv", "attn-viz")
    metrics = study_metrics(scores, outliers, read_json(ATTENTION_DATA / "study.json"), settings.attention)
    pairs = read_csv(ATTENTION_DATA / "pairs.csv", "attn-viz", ("image_id", "pair", "method"))
    metrics |= pair_metrics(pairs, settings.attention)
    return Summary(metrics, ATTENTION_METRICS, {ATTENTION_SCORES: method_table(metrics)})


def summarise_embeddings(settings: Settings) -> Summary:
    """Hand on the numbers that the stage embed-viz wrote; those with one value a photo become estimates.

    Raises:
        AtlasError: the file is missing.
    """
    del settings
    metrics: Metrics = {}
    for name, value in read_json(EMBEDDING_NUMBERS).items():
        by_photo = isinstance(value, list)
        metrics |= Estimate.mean(np.array(value, float)).flat(name) if by_photo else {name: value}
    return Summary(metrics, EMBEDDINGS_METRICS)


def study_metrics(
    scores: pd.DataFrame, outliers: pd.DataFrame, study: Mapping[str, Any], settings: AttentionSettings
) -> Metrics:
    """All numbers of the study; one that does not exist (no masks, no wrong guesses) is None.

    Args:
        scores: one row a photo and method, as :meth:`vit_atlas.attention.study.Study.save` writes them.
        outliers: one row a scored photo.
        study: what was chosen, and counts.
        settings: methods, resamples and seed of the intervals.
    """
    photos, choice = scores.drop_duplicates("image_id"), study["choice"]
    metrics: Metrics = {
        "readout": study.get("readout"),
        "photos_drawn": study["photos_drawn"],
        "photos_scored": len(photos),
        "photos_right": int(photos["correct"].astype(bool).sum()),
        "photos_choosing": choice["photos"],
        "photos_faithfulness": int(scores.loc[scores["deletion"].notna(), "image_id"].nunique()),
        "photos_sanity": int(scores.loc[scores["stable_noise"].notna(), "image_id"].nunique()),
        "masks_excluded": choice["excluded"] + study["excluded"],
        "photos_too_small": choice["too_small"] + study["too_small"],
    }
    for name in settings.methods:
        metrics |= _method_metrics(name, scores[scores["method"] == name], choice, settings)
    return metrics | _winner_metrics(scores, settings) | _outlier_metrics(outliers, study, settings)


def pair_metrics(pairs: pd.DataFrame, settings: AttentionSettings) -> Metrics:
    """How much of a map lies in another place for the true class than for a wrong guess, and after fine-tuning.

    Args:
        pairs: one row a drawn photo, pair and method, as :func:`vit_atlas.pictures.contrast.save_pairs` writes them.
        settings: methods, resamples and seed of the intervals.
    """
    metrics: Metrics = {}
    for name in without_baselines(settings.methods):
        pair = "why_not" if METHODS[name].class_specific else "before_after"
        values = pairs.loc[(pairs["pair"] == pair) & (pairs["method"] == name), "moved"]
        metrics |= _estimate(values, settings).flat(f"{name}.moved_{pair}")
    return metrics


def method_table(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """The scores as a table that DVC draws and compares between commits.

    Returns:
        One row a method that was scored, best mean IoU first: ``method`` as figures call it, and a column a score.
    """
    rows = [
        {"method": method.label, **{score: metrics.get(f"{name}.{score}") for score in SCORES}}
        for name, method in METHODS.items()
        if metrics.get(f"{name}.mass") is not None
    ]
    table = pd.DataFrame(rows, columns=["method", *SCORES])
    return table.sort_values(["miou", "method"], ascending=[False, True], na_position="last", kind="stable")


def class_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU of each class (rows) and method (columns), with the number of photos."""
    table = scores.pivot_table(index="class_name", columns="method", values="miou", aggfunc="mean", sort=False)
    table.insert(0, "photos", scores.groupby("class_name")["image_id"].nunique())
    return table.sort_index()


def _method_metrics(name: str, rows: pd.DataFrame, choice: Mapping[str, Any], settings: AttentionSettings) -> Metrics:
    correct = rows["correct"].astype(bool)
    metrics: Metrics = {}
    for score in SCORES:
        metrics |= _estimate(rows[score], settings).flat(f"{name}.{score}")
    metrics |= _protocol(name, rows, settings)
    metrics[f"{name}.miou_right"] = _mean(rows.loc[correct, "miou"])
    metrics[f"{name}.miou_wrong"] = _mean(rows.loc[~correct, "miou"])
    threshold = choice["thresholds"].get(name)
    metrics[f"{name}.threshold"] = None if threshold is None else threshold / (LEVELS - 1)
    if METHODS[name].chosen_head:
        metrics[f"{name}.head"] = None if choice["head"] is None else choice["head"] + 1
    if METHODS[name].ranks_patches:
        metrics[f"{name}.deletion"] = _mean(rows["deletion"])
        metrics[f"{name}.insertion"] = _mean(rows["insertion"])
        metrics |= _estimate(rows["insertion"] - rows["deletion"], settings).flat(f"{name}.faithfulness")
        for kind in sanity_of(name):
            metrics |= _estimate(rows[kind], settings).flat(f"{name}.{kind}")
    return metrics


def _protocol(name: str, rows: pd.DataFrame, settings: AttentionSettings) -> Metrics:
    """The scores of ImageNet-Segmentation's tables: pixels of all photos are counted together, and photos resampled."""

    def miou(totals: np.ndarray) -> np.ndarray:
        hit, spilled, missed, rest = totals.T
        return (hit / (hit + spilled + missed) + rest / (rest + spilled + missed)) / 2

    def accuracy(totals: np.ndarray) -> np.ndarray:
        return (totals[:, 0] + totals[:, 3]) / totals.sum(axis=1)

    cut = rows[list(CUT)].to_numpy(float)
    metrics: Metrics = {}
    for score, statistic in (("segmentation_miou", miou), ("segmentation_accuracy", accuracy)):
        estimate = Estimate.of_totals(cut, statistic, settings.bootstrap_samples, settings.seed)
        metrics |= estimate.flat(f"{name}.{score}")
    return metrics | _estimate(rows["segmentation_ap"], settings).flat(f"{name}.segmentation_ap")


def _winner_metrics(scores: pd.DataFrame, settings: AttentionSettings) -> Metrics:
    """The method with the best mean IoU, and by how much each beats the centre Gaussian, photo by photo."""
    table = scores.pivot_table(index="image_id", columns="method", values="miou", sort=False)
    learned = without_baselines(settings.methods)
    known = [name for name in learned if name in table.columns]
    metrics: Metrics = {"winner": str(table[known].mean().idxmax()) if known else None}
    for name in learned if "gaussian" in settings.methods else ():
        gain = table[name] - table["gaussian"] if name in known else pd.Series(dtype=float)
        metrics |= _estimate(gain, settings).flat(f"{name}.miou_over_gaussian")
    return metrics


def _outlier_metrics(outliers: pd.DataFrame, study: Mapping[str, Any], settings: AttentionSettings) -> Metrics:
    """Outliers of the last layer's patch tokens over all scored photos.

    ``present`` is the share of photos with any, ``photos`` their number; ``share`` is of all patches; ``outside``,
    ``left`` (half of the photo) are of the outliers; ``attention`` is the share of the attention that goes to them.
    """
    some = outliers[outliers["outliers"] > 0]

    def of_outliers(name: str) -> Estimate:
        known = some[some[name].notna()]
        rows = np.stack([known[name] * known["outliers"], known["outliers"]], axis=1).astype(float)
        return Estimate.of_totals(
            rows, lambda totals: totals[:, 0] / totals[:, 1], settings.bootstrap_samples, settings.seed
        )

    present = (outliers["outliers"] > 0).to_numpy()
    return {
        "artefacts.layer": study["layers"],
        "artefacts.threshold": study["outlier_threshold"],
        "artefacts.photos": len(some),
        **Estimate.mean(present, settings.bootstrap_samples, settings.seed).flat("artefacts.present"),
        "artefacts.share": _mean(outliers["share"]),
        **of_outliers("outside").flat("artefacts.outside"),
        **of_outliers("left").flat("artefacts.left"),
        "artefacts.attention": _mean(outliers["attention"]),
    }


def _estimate(values: pd.Series, settings: AttentionSettings) -> Estimate:
    return Estimate.mean(values.to_numpy(float), settings.bootstrap_samples, settings.seed)


def _mean(values: pd.Series) -> float | None:
    known = values.astype(float).dropna()
    return float(known.mean()) if len(known) else None
