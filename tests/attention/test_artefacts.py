"""Outliers are found where the histogram has a second mode, and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.tiny_models import PREFIX_TOKENS
from vit_atlas.attention.artefacts import diagnose, norm_histogram, outlier_threshold, patch_norms
from vit_atlas.attention.passes import run_pass
from vit_atlas.models.classifier import Classifier

from .conftest import tiny_model

RANDOM = np.random.default_rng(0)


def test_a_small_second_mode_is_cut_off_at_the_valley() -> None:
    norms = np.concatenate([RANDOM.normal(45, 5, 5000), RANDOM.normal(300, 30, 100)])
    threshold = outlier_threshold(np.log10(norms))
    assert threshold is not None
    assert 70 < threshold < 210
    assert (norms > threshold).sum() == 100


@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_the_threshold_is_no_constant(scale: float) -> None:
    norms = np.concatenate([RANDOM.normal(45, 5, 5000), RANDOM.normal(300, 30, 100)])
    threshold = outlier_threshold(np.log10(norms))
    assert threshold is not None
    assert outlier_threshold(np.log10(norms * scale)) == pytest.approx(threshold * scale, rel=1e-6)


def test_one_mode_has_no_outliers() -> None:
    assert outlier_threshold(np.log10(RANDOM.normal(45, 5, 20000).clip(1))) is None
    assert outlier_threshold(RANDOM.normal(2, 0.2, 20000)) is None
    assert outlier_threshold(np.full(100, 2.0)) is None


def test_two_kinds_of_content_and_stragglers_are_no_outliers() -> None:
    halves = np.concatenate([RANDOM.normal(1.6, 0.03, 3000), RANDOM.normal(2.6, 0.03, 2500)])
    assert outlier_threshold(halves) is None
    assert outlier_threshold(np.concatenate([RANDOM.normal(1.6, 0.03, 5000), [2.6, 2.7]])) is None


def test_histogram_counts_every_token_of_every_layer() -> None:
    norms = RANDOM.uniform(1, 10, size=(3, 2, 4, 5))
    norms[:, 1] = RANDOM.normal(45, 2, size=(3, 4, 5))
    norms[0, 1, 0, 0] = norms[1, 1, 0, 0] = 400
    histogram = norm_histogram(norms)
    assert histogram.counts.sum(axis=1).tolist() == [60, 60]
    assert histogram.thresholds[1] is not None
    assert 60 < histogram.thresholds[1] < 400


def test_norms_are_of_patches_in_their_places(kind: str) -> None:
    model = tiny_model(kind)
    pixels = torch.randn(2, 3, 16, 16)
    trace = run_pass(Classifier(model, SimpleNamespace(size={"height": 16, "width": 16})), pixels, gradients=False)
    with torch.no_grad():
        states = model(pixels, output_hidden_states=True).hidden_states[2]
    norms = patch_norms(trace)
    assert norms.shape == (2, 3, 4, 4)
    expected = states[1, PREFIX_TOKENS[kind] + 1 * 4 + 3].norm()
    assert norms[1, 1, 1, 3] == pytest.approx(float(expected), rel=1e-5)


def test_diagnosis_says_where_the_outliers_lie() -> None:
    norms, attention, inside = np.ones((2, 4)), np.full((2, 4), 0.5), np.zeros((2, 4))
    norms[0, 0] = norms[1, 1] = norms[1, 3] = 9
    attention[0, 0] = 4.5
    inside[1, 3] = 0.9
    found = diagnose(norms, 5.0, attention, inside)
    assert found.share == pytest.approx(3 / 8)
    assert found.outside == pytest.approx(2 / 3)
    assert found.left == pytest.approx(2 / 3)
    assert found.attention == pytest.approx(5.5 / 8)


def test_no_outliers_and_no_mask() -> None:
    norms = np.ones((2, 4))
    none = diagnose(norms, None, norms, None)
    assert (none.share, none.outside, none.left, none.attention) == (0, None, None, 0)
    norms[0, 3] = 9
    unmasked = diagnose(norms, 5.0, np.ones((2, 4)), None)
    assert (unmasked.outside, unmasked.left) == (None, 0)
