"""The linear probe: what the pretrained features know, without fine-tuning. A baseline, and a head to start from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vit_atlas.errors import AtlasError
from vit_atlas.io.arrays import read_arrays, write_arrays
from vit_atlas.io.files import atomic_folder
from vit_atlas.paths import PROBE

WEIGHTS, FEATURES = "weights.npz", "features.npz"

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse regularisation strengths C among which the validation split chooses."""


SMALL = 4_000_000
"""Values up to which features are multiplied so quickly that threads only wait for each other beside a busy process."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier on features as they come: their standardisation is part of the weights."""

    weights: np.ndarray
    """(classes, width), float64."""
    bias: np.ndarray
    """(classes,), float64."""
    strength: float
    """The inverse regularisation strength C that was kept."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Labels (photos,) of features (photos, width)."""
        return (features.astype(np.float64) @ self.weights.T + self.bias).argmax(axis=1)


def write_probe(probe: LinearProbe | None, features: Mapping[str, np.ndarray], folder: Path = PROBE) -> None:
    """Write a probe and the features (photos, width) of train and val that it was fitted on; None leaves both out."""
    with atomic_folder(folder) as temporary:
        if probe is not None:
            content = {"weights": probe.weights, "bias": probe.bias, "strength": np.asarray(probe.strength)}
            write_arrays(temporary / WEIGHTS, content)
            write_arrays(temporary / FEATURES, features)


def read_probe(folder: Path = PROBE) -> LinearProbe | None:
    """Read the probe that finetune fitted; None where ``finetune.linear_probe`` is off.

    Raises:
        AtlasError: the folder is missing or a file in it is broken.
    """
    if not folder.is_dir():
        raise AtlasError(f"{folder} does not exist: run `dvc repro finetune` first")
    if not (folder / WEIGHTS).exists():
        return None
    found = read_arrays(folder / WEIGHTS, "finetune")
    return LinearProbe(found["weights"], found["bias"], float(found["strength"]))


def read_features(folder: Path = PROBE) -> dict[str, np.ndarray]:
    """Read the pretrained network's features (photos, width) of the splits train and val, rows as in the manifest.

    Raises:
        AtlasError: the file is missing or broken.
    """
    return read_arrays(folder / FEATURES, "finetune")


def fit_probe(features: dict[str, np.ndarray], labels: dict[str, np.ndarray], classes: int) -> LinearProbe:
    """Fit logistic regression on the training split; the validation split chooses its strength.

    Features are standardised by the training split's mean and spread; of :data:`STRENGTHS` the one with the best
    accuracy on the validation split is kept (the smallest of equals).

    Args:
        features: by split (train, val), arrays (photos, width).
        labels: by split, arrays (photos,).
        classes: how many there are; labels are below it.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scaler = StandardScaler().fit(features["train"].astype(np.float64))
    width = features["train"].shape[1]
    best = LinearProbe(np.zeros((classes, width)), np.zeros(classes), 0.0)
    if len(np.unique(labels["train"])) == 1:
        best.bias[labels["train"][0]] = 1.0
        return best
    scaled = scaler.transform(features["train"].astype(np.float64))
    model = LogisticRegression(max_iter=1000, warm_start=True)
    best_accuracy = -1.0
    for strength in tqdm(STRENGTHS, "Linear probe: strength", unit="fit"):
        with threadpool_limits(1 if scaled.size <= SMALL else None, "blas"):
            model.set_params(C=strength).fit(scaled, labels["train"])
        probe = _unscaled(model, scaler, classes, strength)
        accuracy = float((probe.predict(features["val"]) == labels["val"]).mean())
        if accuracy > best_accuracy:
            best_accuracy, best = accuracy, probe
    return best


def _unscaled(model: Any, scaler: Any, classes: int, strength: float) -> LinearProbe:
    """Fold the standardisation into the weights; a class that training never saw is never predicted."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(coefficients) == 1:  # Two classes have one row: the second's score over the first's.
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
    scaled = coefficients / scaler.scale_
    weights, bias = np.zeros((classes, scaled.shape[1])), np.full(classes, -1e4)
    weights[model.classes_] = scaled
    bias[model.classes_] = intercepts - scaled @ scaler.mean_
    return LinearProbe(weights, bias, strength)
