"""Figures are bounded, whatever the photo's shape, and PNG and page have one colour map for heat."""

import io

import numpy as np
import pytest
from PIL import Image

from vit_atlas.explain.classify import Prediction
from vit_atlas.explain.figure import draw_explanation
from vit_atlas.figures.attention import Guess, draw_photo
from vit_atlas.figures.captions import WordPanel, draw_strip
from vit_atlas.figures.differences import Change, draw_difference
from vit_atlas.figures.maps import Panel, Row, draw_comparison, draw_layers
from vit_atlas.figures.style import HEAT, new_figure, png_bytes
from vit_atlas.report.inline import PALETTES, scripts

VALUES = np.random.default_rng(0).random((8, 8))
GUESS = Guess("strip.png", "cat", "dog", 0.5)


@pytest.mark.parametrize("size", [(12, 2400), (2400, 12), (1, 3000), (40, 30)])
def test_strips_are_drawn_in_bounds(size: tuple[int, int]) -> None:
    photo = Image.new("RGB", size, "grey")
    figures = (
        draw_photo(photo, VALUES, np.stack([VALUES] * 12), GUESS, "layer 1"),
        draw_comparison([Row(photo, GUESS, None, [Panel("rollout", VALUES, "0.5")] * 5)] * 4, "score"),
        draw_layers(photo, np.ones((12, 12, 8, 8)), GUESS, "the head reads the class token"),
        draw_difference(photo, "strip", [Change("rollout", VALUES, VALUES, VALUES - VALUES.T, 0.1)] * 3),
        draw_strip(photo, [WordPanel("cat", 0.5, VALUES)] * 11, "a cat", ["note"]),
        draw_explanation(photo, {"rollout": VALUES}, [Prediction("cat", 1.0)], "strip.png", "the head reads it"),
    )
    for figure in figures:
        with Image.open(io.BytesIO(png_bytes(figure))) as picture:
            assert max(picture.size) <= 6000
            assert min(picture.size) >= 150


def test_no_figure_is_larger_than_viewers_show() -> None:
    assert new_figure(500, 4).get_size_inches().tolist() == [50, 4]


def test_heat_has_one_colour_map() -> None:
    """Scripts ask for a palette by its use, so that pictures and page cannot differ."""
    assert PALETTES["heat"] == HEAT
    assert 'Atlas.table("heat"' in scripts()
    assert HEAT not in scripts()
