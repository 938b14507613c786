"""Deletion and insertion on a model whose use of the photo is known."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vit_atlas.attention.faithfulness import BATCH, Curves, Question, blurred, deletion_insertion, filling, views

from .conftest import tiny_model


class Corner(torch.nn.Module):
    """A model that reads the contrast of the top right patch (4 x 4 pixels) only."""

    def __init__(self) -> None:
        super().__init__()
        self.corner = torch.nn.Parameter(torch.tensor(3.0))

    def forward(self, pixels: torch.Tensor) -> Any:
        evidence = pixels[:, 0, :4, 12:].std(dim=(1, 2)) * self.corner
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(evidence), evidence], dim=1))


PIXELS = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def curves_of(maps: np.ndarray, steps: int, fillings: Sequence[str] = ("blur",)) -> Curves:
    (curves,) = deletion_insertion(Corner(), [Question(PIXELS, 1, maps)], steps, fillings)
    return curves


def test_a_map_of_the_patch_that_matters_beats_one_of_all_others() -> None:
    good = np.zeros((4, 4))
    good[0, 3] = 1
    curves = curves_of(np.stack([good, 1 - good]), steps=3)
    assert curves.shares == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert curves.deletion_auc[0] < curves.deletion_auc[1]
    assert curves.insertion_auc[0] > curves.insertion_auc[1]


def test_curves_start_and_end_at_the_whole_and_the_blurred_photo() -> None:
    curves = curves_of(np.random.default_rng(0).random((2, 4, 4)), steps=2)

    def probability(pixels: torch.Tensor) -> float:
        return Corner()(pixels).logits.softmax(dim=1)[0, 1].item()

    assert curves.deletion[:, 0] == pytest.approx(probability(PIXELS))
    assert curves.insertion[:, -1] == pytest.approx(probability(PIXELS))
    assert curves.deletion[:, -1] == pytest.approx(probability(blurred(PIXELS)))
    assert curves.insertion[:, 0] == pytest.approx(probability(blurred(PIXELS)))


def test_each_point_is_a_forward_pass_of_the_changed_photo() -> None:
    model = tiny_model("dinov2")
    pixels = torch.randn(1, 3, 16, 16)
    values = np.arange(16.0).reshape(4, 4)
    (curves,) = deletion_insertion(model, [Question(pixels, 2, values[None])], steps=1)
    changed = pixels.clone()
    changed[:, :, 8:] = blurred(pixels)[:, :, 8:]
    with torch.no_grad():
        expected = model(changed).logits.softmax(dim=1)[0, 2]
    assert curves.deletion[0, 1] == pytest.approx(float(expected), abs=1e-6)


def test_photos_share_forward_passes_and_keep_their_own_curves() -> None:
    chance = np.random.default_rng(1)
    questions = [Question(PIXELS + place, place % 2, chance.random((2, 4, 4))) for place in range(5)]
    model, sizes = Corner(), []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    found = list(deletion_insertion(model, questions, 2, ("blur", "mean")))
    assert sizes == [BATCH] * 6 + [4]
    assert sum(sizes) == 5 * views(maps=2, steps=2, fillings=("blur", "mean"))
    for question, curves in zip(questions, found, strict=True):
        (alone,) = deletion_insertion(Corner(), [question], 2, ("blur", "mean"))
        np.testing.assert_allclose(curves.deletion, alone.deletion, atol=1e-6)
        np.testing.assert_allclose(curves.insertion, alone.insertion, atol=1e-6)


def test_two_fillings_are_averaged() -> None:
    maps = np.random.default_rng(0).random((2, 4, 4))
    blur, mean, both = (curves_of(maps, 2, fillings=names) for names in (("blur",), ("mean",), ("blur", "mean")))
    assert not np.allclose(blur.deletion, mean.deletion)
    np.testing.assert_allclose(both.deletion, (blur.deletion + mean.deletion) / 2)
    np.testing.assert_allclose(both.insertion, (blur.insertion + mean.insertion) / 2)
    assert float(filling(PIXELS, "mean").std(dim=(2, 3)).max()) < 1e-6


def test_blur_keeps_brightness_and_removes_detail() -> None:
    pixels = torch.randn(1, 3, 64, 48) + 2
    soft = blurred(pixels)
    assert soft.shape == pixels.shape
    assert float(soft.mean()) == pytest.approx(float(pixels.mean()), abs=0.05)
    assert float(soft.std()) < 0.3 * float(pixels.std())
    assert blurred(torch.randn(1, 3, 8, 8)).shape == (1, 3, 8, 8)
