"""Patches that are alike to the network have like colours, over all photos together."""

import numpy as np
import pytest
import torch

from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.token_colours import patch_tokens, token_colours
from vit_atlas.models.classifier import Classifier

from .test_explorer import FixedSize, tiny_model


def test_two_kinds_of_patches_have_two_colours_in_every_photo() -> None:
    chance = np.random.default_rng(0)
    kinds = np.array([[[0, 1, 1], [0, 0, 1]], [[1, 1, 1], [1, 0, 0]]])
    centres = chance.normal(size=(2, 16)) * 5
    colours = token_colours(centres[kinds] + chance.normal(size=(2, 2, 3, 16)) * 0.01)
    assert colours.shape == (2, 2, 3, 3)
    red = colours[..., 0].astype(int)
    assert abs(red[kinds == 0].mean() - red[kinds == 1].mean()) > 200
    assert max(np.ptp(red[kinds == kind]) for kind in (0, 1)) < 10


@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (2, 3, 2, 8), (1, 1, 2, 1)])
def test_patches_that_are_all_the_same_or_few_have_a_colour(shape: tuple[int, ...]) -> None:
    assert set(np.unique(token_colours(np.ones(shape)))) == {128}
    assert token_colours(np.random.default_rng(0).normal(size=shape)).shape == (*shape[:-1], 3)


def test_tokens_are_those_of_the_patches(kind: str, pixels: torch.Tensor) -> None:
    trace = run_pass(Classifier(tiny_model(kind), FixedSize()), pixels, gradients=False)
    tokens = patch_tokens(trace)
    assert tokens.shape[:3] == (2, 4, 4)
    last = trace.hidden[-1][1, -1].detach().numpy()
    np.testing.assert_allclose(tokens[1, 3, 3], (last - last.mean()) / last.std(), rtol=1e-2, atol=1e-3)
