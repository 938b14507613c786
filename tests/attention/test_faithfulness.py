"""Deletion and insertion on a model whose use of the photo is known."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vit_atlas.attention.faithfulness import blurred, deletion_insertion, filling
from vit_atlas.attention.passes import run_pass
from vit_atlas.models.classifier import Classifier

from .conftest import tiny_model


def _corner_pass(corner: float = 3.0) -> Any:
    """A stand-in for a model that reads the contrast of the top right patch (4 x 4 pixels) only."""

    def model(pixels: torch.Tensor) -> Any:
        evidence = pixels[:, 0, :4, 12:].std(dim=(1, 2)) * corner
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(evidence), evidence], dim=1))

    pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(pixels=pixels, targets=torch.tensor([1]), classifier=SimpleNamespace(model=model))


def test_a_map_of_the_patch_that_matters_beats_one_of_all_others() -> None:
    good = np.zeros((4, 4))
    good[0, 3] = 1
    curves = deletion_insertion(_corner_pass(), np.stack([good, 1 - good]), steps=3)
    assert curves.shares == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert curves.deletion_auc[0] < curves.deletion_auc[1]
    assert curves.insertion_auc[0] > curves.insertion_auc[1]


def test_curves_start_and_end_at_the_whole_and_the_blurred_photo() -> None:
    trace = _corner_pass()
    curves = deletion_insertion(trace, np.random.default_rng(0).random((2, 4, 4)), steps=2)

    def probability(pixels: torch.Tensor) -> float:
        return float(trace.classifier.model(pixels).logits.softmax(dim=1)[0, 1])

    assert curves.deletion[:, 0] == pytest.approx(probability(trace.pixels))
    assert curves.insertion[:, -1] == pytest.approx(probability(trace.pixels))
    assert curves.deletion[:, -1] == pytest.approx(probability(blurred(trace.pixels)))
    assert curves.insertion[:, 0] == pytest.approx(probability(blurred(trace.pixels)))


def test_each_point_is_a_forward_pass_of_the_changed_photo() -> None:
    model = tiny_model("dinov2")
    classifier = Classifier(model, SimpleNamespace(size={"height": 16, "width": 16}))
    pixels = torch.randn(1, 3, 16, 16)
    trace = run_pass(classifier, pixels, gradients=False)
    values = np.arange(16.0).reshape(4, 4)
    curves = deletion_insertion(trace, values[None], steps=1)
    changed = pixels.clone()
    changed[:, :, 8:] = blurred(pixels)[:, :, 8:]
    with torch.no_grad():
        expected = model(changed).logits.softmax(dim=1)[0, trace.targets[0]]
    assert curves.deletion[0, 1] == pytest.approx(float(expected), abs=1e-6)


def test_two_fillings_are_averaged() -> None:
    maps = np.random.default_rng(0).random((2, 4, 4))
    blur, mean, both = (
        deletion_insertion(_corner_pass(), maps, 2, fillings=names)
        for names in (("blur",), ("mean",), ("blur", "mean"))
    )
    assert not np.allclose(blur.deletion, mean.deletion)
    np.testing.assert_allclose(both.deletion, (blur.deletion + mean.deletion) / 2)
    np.testing.assert_allclose(both.insertion, (blur.insertion + mean.insertion) / 2)
    assert float(filling(_corner_pass().pixels, "mean").std(dim=(2, 3)).max()) < 1e-6


def test_blur_keeps_brightness_and_removes_detail() -> None:
    pixels = torch.randn(1, 3, 64, 48) + 2
    soft = blurred(pixels)
    assert soft.shape == pixels.shape
    assert float(soft.mean()) == pytest.approx(float(pixels.mean()), abs=0.05)
    assert float(soft.std()) < 0.3 * float(pixels.std())
    assert blurred(torch.randn(1, 3, 8, 8)).shape == (1, 3, 8, 8)
