"""How good the fine-tuned model is on photos that nothing else has looked at, and against what.

The only module that reads the test split. Beside the model stands the baseline that fine-tuning has to beat: a linear
probe on the features of the pretrained model, trained on the same photos, its strength chosen on the same validation
split.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from vit_atlas.errors import AtlasError
from vit_atlas.finetune.probe import fit_probe
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.inference import forward
from vit_atlas.settings import EvaluateSettings


@dataclass(frozen=True)
class Evaluation:
    """What evaluate measured; every table has one row a thing and is ready to be written as CSV."""

    metrics: dict[str, float | int]
    predictions: pd.DataFrame
    """image_id, path, split, label, class_name, prediction, predicted_name, confidence, correct; a row a test photo."""
    confusion: pd.DataFrame
    """actual, predicted (class names); one row a test photo, the form that DVC's confusion template counts."""
    reliability: pd.DataFrame
    """confidence (mean), accuracy, count; one row a bin that holds photos."""
    per_class: pd.DataFrame
    """class_name, photos, precision, recall, f1, taken_for (the commonest wrong guess, or empty); one row a class."""


def evaluate(
    manifest: pd.DataFrame,
    classes: Sequence[str],
    finetuned: Classifier,
    pretrained: Classifier | None,
    settings: EvaluateSettings,
) -> Evaluation:
    """Measure ``finetuned`` on the test split, and a linear probe on ``pretrained`` unless that is None.

    Each photo is decoded once and goes through each network once.

    Raises:
        AtlasError: the model's classes are not those of the manifest, there is no test photo, or the model's outputs
            are not finite.
    """
    _check_classes(finetuned, classes)
    test = _split(manifest, "test")
    if test.empty:
        raise AtlasError(
            "build/prepared/manifest.csv lists no photo of the split `test`: run `dvc repro prepare` again"
        )
    outputs = forward(finetuned, pretrained, list(test["path"]), settings.batch_size, "Test photos")
    if not np.isfinite(outputs.logits).all():
        raise AtlasError(
            "build/model gives outputs that are not finite numbers, so its training diverged: lower "
            "`finetune.learning_rate` in params.yaml and run `dvc repro` again"
        )
    probabilities = softmax(outputs.logits)
    predictions = prediction_table(test, classes, probabilities)
    correct = predictions["correct"].to_numpy()
    metrics = summary(_labels(test), probabilities, settings)
    if pretrained is not None:
        splits = {"test": outputs.features}
        for name in ("train", "val"):
            paths = list(_split(manifest, name)["path"])
            splits[name] = forward(
                None, pretrained, paths, settings.batch_size, f"Linear probe: {name} photos"
            ).features
        targets = {name: _split(manifest, name)["label"].to_numpy().astype(int) for name in splits}
        probe = fit_probe(splits, targets, len(classes))
        probe_correct = probe.predict(splits["test"]) == targets["test"]
        metrics |= _probe_metrics(probe.strength, probe_correct, correct, settings)
    if settings.reference_accuracy is not None:
        metrics["reference_accuracy"] = settings.reference_accuracy
        metrics["distance_to_reference"] = float(metrics["accuracy"]) - settings.reference_accuracy
    confusion = pd.DataFrame({"actual": predictions["class_name"], "predicted": predictions["predicted_name"]})
    reliability = reliability_table(predictions["confidence"].to_numpy(), correct, settings.calibration_bins)
    return Evaluation(metrics, predictions, confusion, reliability, per_class_table(predictions, classes))


# -- numbers


def summary(labels: np.ndarray, probabilities: np.ndarray, settings: EvaluateSettings) -> dict[str, float | int]:
    """Measure predictions.

    Args:
        labels: (photos,), the true classes.
        probabilities: (photos, classes).
        settings: bins of the calibration error, resamples and seed of the interval.

    Returns:
        ``accuracy`` with its 95 % interval (``accuracy_low``, ``accuracy_high``), ``top5_accuracy`` (of all classes, if
        they are fewer than five), ``macro_f1``, ``ece`` and ``photos``.

    References:
        Guo et al. 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599
    """
    from sklearn.metrics import f1_score, top_k_accuracy_score
    from torchmetrics.functional.classification import multiclass_calibration_error

    count = probabilities.shape[1]
    guesses = probabilities.argmax(axis=1)
    correct = guesses == labels
    low, high = interval(correct, settings)
    every = np.arange(count)
    top5 = 1.0 if count <= 5 else float(top_k_accuracy_score(labels, probabilities, k=5, labels=every))
    ece = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), count, n_bins=settings.calibration_bins, norm="l1"
    )
    return {
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "top5_accuracy": top5,
        "macro_f1": float(f1_score(labels, guesses, labels=every, average="macro", zero_division=0)),
        "ece": float(ece),
        "photos": len(labels),
    }


def interval(values: np.ndarray, settings: EvaluateSettings) -> tuple[float, float]:
    """Give the 95 % percentile bootstrap interval of the mean of ``values`` (one a photo).

    Where all values are equal, as with no mistake at all, resampling shows no spread and both ends are that value.

    References:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13
    """
    from scipy.stats import bootstrap

    numbers = values.astype(np.float64)
    if len(numbers) < 2 or np.ptp(numbers) == 0:
        return float(numbers.mean()), float(numbers.mean())
    result = bootstrap(
        (numbers,),
        np.mean,
        n_resamples=settings.bootstrap_samples,
        method="percentile",
        batch=100,
        rng=np.random.default_rng(settings.seed),
    ).confidence_interval
    return float(result.low), float(result.high)


def _probe_metrics(
    strength: float, probe_correct: np.ndarray, correct: np.ndarray, settings: EvaluateSettings
) -> dict[str, float | int]:
    """The probe's accuracy, and by how much the model is better: the same photos are resampled for both (paired)."""
    low, high = interval(probe_correct, settings)
    gain = correct.astype(np.float64) - probe_correct.astype(np.float64)
    gain_low, gain_high = interval(gain, settings)
    return {
        "probe_accuracy": float(probe_correct.mean()),
        "probe_accuracy_low": low,
        "probe_accuracy_high": high,
        "probe_c": strength,
        "accuracy_minus_probe": float(gain.mean()),
        "accuracy_minus_probe_low": gain_low,
        "accuracy_minus_probe_high": gain_high,
    }


# -- tables


def prediction_table(test: pd.DataFrame, classes: Sequence[str], probabilities: np.ndarray) -> pd.DataFrame:
    """List the model's guess for each test photo (columns: see :class:`Evaluation`)."""
    guesses = probabilities.argmax(axis=1)
    table = test[["image_id", "path", "split", "label", "class_name"]].copy().reset_index(drop=True)
    table["label"] = table["label"].astype(int)
    table["prediction"] = guesses
    table["predicted_name"] = [classes[guess] for guess in guesses]
    table["confidence"] = probabilities.max(axis=1).astype(np.float64).round(6)
    table["correct"] = guesses == table["label"].to_numpy()
    return table


def reliability_table(confidence: np.ndarray, correct: np.ndarray, bins: int) -> pd.DataFrame:
    """Compare confidence with accuracy in ``bins`` equal bins of confidence; empty bins are left out."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    table = pd.DataFrame({"bin": index, "confidence": confidence, "correct": correct.astype(float)})
    grouped = table.groupby("bin").agg(
        confidence=("confidence", "mean"), accuracy=("correct", "mean"), count=("correct", "size")
    )
    return grouped.reset_index(drop=True).round({"confidence": 6, "accuracy": 6})


def per_class_table(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Measure each class (columns: see :class:`Evaluation`); a class that was never guessed has precision 0."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, photos = precision_recall_fscore_support(
        predictions["label"], predictions["prediction"], labels=range(len(classes)), zero_division=0
    )
    wrong = predictions[~predictions["correct"]].groupby("class_name")["predicted_name"]
    taken_for = {name: guesses.mode().iloc[0] for name, guesses in wrong}
    return pd.DataFrame(
        {
            "class_name": list(classes),
            "photos": photos,
            "precision": precision.round(6),
            "recall": recall.round(6),
            "f1": f1.round(6),
            "taken_for": [taken_for.get(name, "") for name in classes],
        }
    )


def worst_mistakes(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose the ``count`` wrong guesses of the highest confidence, the most confident first."""
    wrong = predictions[~predictions["correct"]]
    return wrong.sort_values(["confidence", "image_id"], ascending=[False, True]).head(count)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (photos, classes) into probabilities, in double precision."""
    from scipy.special import softmax as library_softmax

    return np.asarray(library_softmax(logits.astype(np.float64), axis=1))


def _split(manifest: pd.DataFrame, name: str) -> pd.DataFrame:
    return manifest[manifest["split"] == name]


def _labels(photos: pd.DataFrame) -> np.ndarray:
    return photos["label"].to_numpy().astype(int)


def _check_classes(classifier: Classifier, classes: Sequence[str]) -> None:
    known = [classifier.id2label[index] for index in sorted(classifier.id2label)]
    if known != list(classes):
        raise AtlasError(
            f"build/model was trained on {len(known)} classes that are not the {len(classes)} of "
            "build/prepared/classes.json: run `dvc repro` so that finetune sees the present data"
        )
