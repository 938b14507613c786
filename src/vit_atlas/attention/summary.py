"""metrics/attention.json from the tables of the study: flat, ``method.score``, the same keys in every run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vit_atlas.attention.artefacts import Diagnosis
from vit_atlas.attention.maps import BASELINES
from vit_atlas.attention.scores import LEVELS, SCORES, bootstrap_interval
from vit_atlas.attention.study import Study
from vit_atlas.settings import AttentionSettings

Metrics = dict[str, float | int | str | None]


def study_metrics(study: Study, settings: AttentionSettings) -> Metrics:
    """All numbers of the study; a score that cannot be had (no masks, no wrong guesses) is None."""
    scores = study.scores
    photos = scores.drop_duplicates("image_id")
    metrics: Metrics = {
        "photos_scored": len(photos),
        "photos_right": int(photos["correct"].sum()),
        "photos_choosing": study.choice.photos,
        "photos_faithfulness": int(study.faithfulness["image_id"].nunique()),
        "masks_excluded": study.choice.excluded + study.tested.excluded,
        "photos_too_small": study.choice.too_small + study.tested.too_small,
    }
    for name in settings.methods:
        metrics |= _method_metrics(name, study, settings)
    return metrics | _winner_metrics(scores, settings)


def artefact_metrics(diagnoses: Sequence[Diagnosis], layer: int, threshold: float | None) -> Metrics:
    """Outliers of the last layers' patch tokens over all scored photos.

    ``share`` is of all patches; ``outside``, ``left`` (half of the photo) are of the outliers; ``attention`` is the
    share of the class token's attention that goes to them; ``photos`` counts photos with any.
    """
    some = [diagnosis for diagnosis in diagnoses if diagnosis.outliers.any()]
    weights = [int(diagnosis.outliers.sum()) for diagnosis in some]
    return {
        "artefacts.layer": layer,
        "artefacts.threshold": threshold,
        "artefacts.photos": len(some),
        "artefacts.share": _mean([diagnosis.share for diagnosis in diagnoses]),
        "artefacts.outside": _mean([diagnosis.outside for diagnosis in some], weights),
        "artefacts.left": _mean([diagnosis.left for diagnosis in some], weights),
        "artefacts.attention": _mean([diagnosis.attention for diagnosis in diagnoses]),
    }


def class_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU of each class (rows) and method (columns), with the number of photos."""
    table = scores.pivot_table(index="class_name", columns="method", values="miou", aggfunc="mean", sort=False)
    table.insert(0, "photos", scores.groupby("class_name")["image_id"].nunique())
    return table.sort_index()


def _method_metrics(name: str, study: Study, settings: AttentionSettings) -> Metrics:
    rows = study.scores[study.scores["method"] == name]
    metrics: Metrics = {}
    for score in SCORES:
        metrics |= _with_interval(f"{name}.{score}", rows[score].to_numpy(float), settings)
    metrics[f"{name}.miou_right"] = _mean(rows.loc[rows["correct"].astype(bool), "miou"].tolist())
    metrics[f"{name}.miou_wrong"] = _mean(rows.loc[~rows["correct"].astype(bool), "miou"].tolist())
    threshold = study.choice.thresholds.get(name)
    metrics[f"{name}.threshold"] = None if threshold is None else threshold / (LEVELS - 1)
    if name == "best_head":
        metrics[f"{name}.head"] = study.choice.head
    changed = study.faithfulness[study.faithfulness["method"] == name]
    if name != "uniform":
        metrics[f"{name}.deletion"] = _mean(changed["deletion"].tolist())
        metrics[f"{name}.insertion"] = _mean(changed["insertion"].tolist())
        difference = (changed["insertion"] - changed["deletion"]).to_numpy(float)
        metrics |= _with_interval(f"{name}.faithfulness", difference, settings)
    return metrics


def _winner_metrics(scores: pd.DataFrame, settings: AttentionSettings) -> Metrics:
    """The method with the best mean IoU, and by how much each beats the centre Gaussian, photo by photo."""
    table = scores.pivot_table(index="image_id", columns="method", values="miou", sort=False)
    learned = [name for name in settings.methods if name not in BASELINES]
    known = [name for name in learned if name in table.columns]
    metrics: Metrics = {"winner": str(table[known].mean().idxmax()) if known else None}
    for name in learned if "gaussian" in settings.methods else ():
        difference = np.array([])
        if name in known:
            difference = (table[name] - table["gaussian"]).to_numpy(float)
        metrics |= _with_interval(f"{name}.miou_over_gaussian", difference, settings)
    return metrics


def _with_interval(key: str, values: np.ndarray, settings: AttentionSettings) -> Metrics:
    if not len(values) or np.isnan(values).all():
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    if len(values) < 2:
        return {key: float(values.mean()), f"{key}_low": None, f"{key}_high": None}
    low, high = bootstrap_interval(values, settings.bootstrap_samples, settings.seed)
    return {key: float(values.mean()), f"{key}_low": low, f"{key}_high": high}


def _mean(values: Sequence[float | None], weights: Sequence[int] | None = None) -> float | None:
    pairs = list(zip(values, weights or [1] * len(values), strict=True))
    known = [(value, weight) for value, weight in pairs if value is not None and not np.isnan(value)]
    if not known:
        return None
    return float(np.average([value for value, _ in known], weights=[weight for _, weight in known]))
