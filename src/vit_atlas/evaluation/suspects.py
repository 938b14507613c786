"""Photos to look at again: labels that may be wrong, and right answers that may come from the wrong place.

A label is doubted where a linear probe on the pretrained features, fitted without the photo and all that belong with
it, gives another class. Where the fine-tuned model looked tells the two reasons apart: whoever looks at the object and
still disagrees doubts the label; whoever looks elsewhere may not have seen it.

References:
    Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels,
    https://arxiv.org/abs/1911.00068
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from vit_atlas.data.manifest import Manifest

COLUMNS = ("image_id", "split", "class_name", "suggested_name", "quality", "kind", "predicted_name", "inside", "object")
NAMES = ("image_id", "split", "class_name", "suggested_name", "kind", "predicted_name")
"""Columns of names, which stay text."""

LABEL, UNSEEN, SHORTCUT = "label", "elsewhere", "shortcut"
KINDS = {
    LABEL: "the label may be wrong",
    UNSEEN: "answered otherwise, and looked beside the object",
    SHORTCUT: "right, but looked beside the object",
}
FOLDS = 5
DRAWN = 12
"""Suspects whose photos are drawn."""

Array = np.ndarray


def out_of_fold(features: Array, labels: Array, together: Array, classes: int, strength: float) -> Array:
    """Probabilities (photos, classes) of a linear probe that has seen neither the photo nor its like.

    Args:
        features: (photos, width) of the pretrained network.
        labels: (photos,)
        together: (photos,) numbers; photos that share one stay in one fold.
        classes: how many there are.
        strength: inverse regularisation strength C.

    Returns:
        NaN in the rows of photos that nothing could be said of: their class lies in one fold whole.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = np.full((len(labels), classes), np.nan)
    largest = int(np.bincount(labels, minlength=1).max()) if len(labels) else 0
    folds = min(FOLDS, len(np.unique(together)), largest)
    if folds < 2:
        return found
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Of classes with fewer photos than folds: they may be in some.
        parts = list(splitter.split(features, labels, together))
    for fitted, asked in parts:
        if len(asked) == 0 or len(np.unique(labels[fitted])) < 2:
            continue
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
        probe.fit(features[fitted].astype(np.float64), labels[fitted])
        known = np.zeros((len(asked), classes))
        known[:, probe.classes_] = probe.predict_proba(features[asked].astype(np.float64))
        known[~np.isin(labels[asked], probe.classes_)] = np.nan
        found[asked] = known
    return found


def suspects(
    photos: Manifest, probabilities: Array, classes: Sequence[str], looks: pd.DataFrame, areas: pd.Series
) -> pd.DataFrame:
    """Rank the photos that are to be doubted.

    Args:
        photos: P photos.
        probabilities: (P, classes) out of fold; a row of NaN doubts nothing.
        classes: class names by label.
        looks: image_id, predicted_name and inside (share of the model's look on the object), of some photos.
        areas: share of the photo that is the object, by image_id, of photos with a mask.

    Returns:
        One row a suspect with :data:`COLUMNS`. First the doubted labels, the worst ``quality`` first (normalised
        margin, 0 to 1: below 0.5 the probe prefers another class), then the suspected shortcuts, those first that look
        least at the object. A look is beside the object where an even one would have more on it.
    """
    from cleanlab.rank import get_label_quality_scores  # type: ignore[import-untyped]

    known = ~np.isnan(probabilities).any(axis=1)
    frame = photos.frame.loc[known, ["image_id", "split", "class_name", "label"]]
    if frame.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    shares = probabilities[known]
    frame["suggested_name"] = [classes[guess] for guess in shares.argmax(axis=1)]
    frame["quality"] = get_label_quality_scores(frame["label"].to_numpy(), shares, method="normalized_margin")
    frame = frame.merge(looks[["image_id", "predicted_name", "inside"]], how="left", on="image_id")
    frame["predicted_name"] = frame["predicted_name"].fillna("")
    frame["object"] = frame["image_id"].map(areas).astype(float)
    frame["look"] = frame["inside"].astype(float) / frame["object"]
    wrong, beside = frame["suggested_name"] != frame["class_name"], frame["look"] < 1
    frame["kind"] = np.select([wrong & beside, wrong, beside], [UNSEEN, LABEL, SHORTCUT], "")
    doubted = frame[wrong].sort_values(["quality", "image_id"], kind="stable")
    shortcuts = frame[frame["kind"] == SHORTCUT].sort_values(["look", "image_id"], kind="stable")
    return pd.concat([doubted, shortcuts])[list(COLUMNS)].round(4).reset_index(drop=True)
