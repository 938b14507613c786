"""The linear probe on features made up for the purpose."""

import numpy as np
import pytest

from vit_atlas.finetune.probe import STRENGTHS, fit_probe


def made_up(classes: int, labels: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Noise in 20 directions, and one direction on a far offset that tells the label."""
    generator = np.random.default_rng(0)
    targets = {name: np.arange(90) % (labels or classes) for name in ("train", "val", "test")}
    features = {name: generator.normal(size=(90, 20)).astype(np.float32) for name in targets}
    for name, array in features.items():
        array[:, 7 : 7 + classes] += 100 + 8 * np.eye(classes, dtype=np.float32)[targets[name]]
    return features, targets


@pytest.mark.parametrize("classes", [2, 4])
def test_finds_the_direction_and_takes_features_as_they_come(classes: int) -> None:
    features, labels = made_up(classes)
    probe = fit_probe(features, labels, classes)
    assert (probe.predict(features["test"]) == labels["test"]).mean() > 0.95
    assert probe.weights.shape == (classes, 20)
    assert probe.bias.shape == (classes,)


def test_validation_chooses_the_strength_and_the_smallest_of_equals() -> None:
    features, labels = made_up(3)
    assert fit_probe(features, labels, 3).strength == STRENGTHS[0], "all strengths are right on every photo"
    shuffled = labels | {"val": np.random.default_rng(1).permutation(labels["val"])}
    probe = fit_probe(features, shuffled, 3)
    accuracies = [(fit_probe(features, shuffled, 3).predict(features["val"]) == shuffled["val"]).mean()]
    assert probe.strength in STRENGTHS
    assert accuracies[0] < 0.6


def test_a_class_that_training_never_saw_is_never_predicted() -> None:
    features, labels = made_up(3)
    probe = fit_probe(features, labels, 5)
    assert set(probe.predict(features["test"])) == {0, 1, 2}
    one = {name: np.full(90, 2) for name in labels}
    assert set(fit_probe(features, one, 5).predict(features["test"])) == {2}
