"""What the training loop counts: weights of classes, and results on the validation photos."""

import numpy as np
import pytest
from transformers import EvalPrediction

from vit_atlas.training.loop import class_weights, validation_results


def test_class_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0] * 6 + [1] * 3 + [2]
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels).numpy(), expected, rtol=1e-6)
    assert np.mean([expected[label] for label in labels]) == pytest.approx(1)


def test_balanced_accuracy_is_the_mean_over_classes() -> None:
    logits = np.eye(2)[[0, 0, 0, 0]]
    found = validation_results(EvalPrediction(predictions=logits, label_ids=np.array([0, 0, 0, 1])))
    assert (found["accuracy"], found["balanced_accuracy"]) == (0.75, 0.5)
    losses = -np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    expected = (losses[:3, 0].mean() + losses[3, 1]) / 2
    assert found["balanced_loss"] == pytest.approx(expected)
