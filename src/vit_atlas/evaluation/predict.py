"""What the fine-tuned model says of the test photos, and what a linear probe on the pretrained features says.

The probe is the baseline that fine-tuning has to beat: finetune fits it on the same photos.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.data.manifest import Manifest
from vit_atlas.errors import AtlasError
from vit_atlas.finetune.probe import LinearProbe
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.inference import forward
from vit_atlas.settings import EvaluateSettings


def predict(
    manifest: Manifest,
    classes: Sequence[str],
    finetuned: Classifier,
    pretrained: tuple[Classifier, LinearProbe] | None,
    settings: EvaluateSettings,
) -> tuple[pd.DataFrame, dict[str, Any], np.ndarray]:
    """Classify the test photos; each photo is decoded once and goes through each network once.

    Args:
        manifest: all photos; those of the test split are opened.
        classes: class names by label.
        finetuned: the model.
        pretrained: the model before fine-tuning, and the probe on its features; None where there is no probe.
        settings: photos a forward pass.

    Returns:
        One row a test photo: image_id, path, split, label, class_name, prediction, predicted_name, confidence, correct
        and rank (of the true class, 1 is the likeliest); of the probe its ``strength`` C and its ``predictions``,
        labels in the order of the rows, each None without one; and the pretrained features (photos, width) that it
        read, of width 0 without one.

    Raises:
        AtlasError: the model's classes are not those of the manifest, there is no test photo, or the model's outputs
            are not finite.
    """
    _check_classes(finetuned, classes)
    test = manifest.require("test")
    before, probe = pretrained or (None, None)
    outputs = forward(finetuned, before, test, settings.batch_size, "Test photos")
    table = judge(test, classes, outputs.logits)
    if probe is None:
        return table, {"strength": None, "predictions": None}, outputs.features
    return (
        table,
        {"strength": probe.strength, "predictions": probe.predict(outputs.features).tolist()},
        outputs.features,
    )


def judge(test: Manifest, classes: Sequence[str], logits: np.ndarray) -> pd.DataFrame:
    """List the model's guess for each test photo, see :func:`predict`; ``logits`` are (photos, classes).

    Raises:
        AtlasError: they are not finite.
    """
    if not np.isfinite(logits).all():
        raise AtlasError(
            "build/model gives outputs that are not finite numbers, so its training diverged: lower "
            "`finetune.learning_rate` in params.yaml and run `dvc repro` again"
        )
    return prediction_table(test, classes, softmax(logits))


def prediction_table(test: Manifest, classes: Sequence[str], probabilities: np.ndarray) -> pd.DataFrame:
    """List the model's guess for each test photo, see :func:`predict`; ``probabilities`` are (photos, classes)."""
    guesses = probabilities.argmax(axis=1)
    ranks = (-probabilities).argsort(axis=1, kind="stable").argsort(axis=1)
    table = test.frame[["image_id", "path", "split", "label", "class_name"]].copy()
    table["prediction"] = guesses
    table["predicted_name"] = [classes[guess] for guess in guesses]
    table["confidence"] = probabilities.max(axis=1).astype(np.float64).round(6)
    table["correct"] = guesses == test.labels
    table["rank"] = ranks[np.arange(len(test)), test.labels] + 1
    return table


def worst_mistakes(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose the ``count`` wrong guesses of the highest confidence, the most confident first."""
    wrong = predictions[~predictions["correct"]]
    return wrong.sort_values(["confidence", "image_id"], ascending=[False, True]).head(count)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (photos, classes) into probabilities, in double precision."""
    from scipy.special import softmax as library_softmax

    return np.asarray(library_softmax(logits.astype(np.float64), axis=1))


def _check_classes(classifier: Classifier, classes: Sequence[str]) -> None:
    known = [classifier.id2label[index] for index in sorted(classifier.id2label)]
    if known != list(classes):
        raise AtlasError(
            f"build/model was trained on {len(known)} classes that are not the {len(classes)} of "
            "build/prepared/classes.json: run `dvc repro` so that finetune sees the present data"
        )
