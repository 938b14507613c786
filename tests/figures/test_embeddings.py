"""The tile pictures show the right numbers in the right places."""

import numpy as np
import pytest

from vit_atlas.figures.embeddings import (
    Curve,
    draw_attention_distance,
    draw_bias,
    draw_change,
    draw_distance,
    draw_dot_product,
    draw_overview,
)


def _similarity(rows: int, columns: int) -> np.ndarray:
    values = np.arange(rows * columns * rows * columns, dtype=float)
    return (values / values.max() * 2 - 1).reshape(rows, columns, rows, columns)


def test_every_patch_has_its_tile_in_its_place() -> None:
    similarity = _similarity(2, 3)
    picture = np.ma.filled(draw_overview(similarity, 16, "title").axes[0].images[0].get_array(), np.nan)
    gap = 1
    assert picture.shape == (2 * 2 + gap, 3 * 3 + 2 * gap)
    for row in range(2):
        for column in range(3):
            top, left = row * (2 + gap), column * (3 + gap)
            np.testing.assert_array_equal(picture[top : top + 2, left : left + 3], similarity[row, column])
    assert np.isnan(picture[2]).all()


def test_large_grids_are_sampled_evenly_and_the_title_says_so() -> None:
    figure = draw_overview(_similarity(7, 9), 3, "Similarity")
    assert "7x9 patches, 3x3 of them shown" in figure.get_suptitle()
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "4", "7"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "3", "5"]


def test_difference_is_after_minus_before_and_zero_is_said() -> None:
    before = _similarity(2, 2)
    figure = draw_change(before, before * 0.5, 4)
    shown = np.ma.compressed(np.ma.masked_invalid(figure.axes[2].images[0].get_array()))
    assert sorted(shown) == pytest.approx(sorted((before * -0.5).ravel()))
    assert figure.axes[2].get_title() == "difference, at most 0.5"
    assert draw_change(before, before, 4).axes[2].get_title() == "no difference: they were not trained"


def test_cosine_and_dot_product_keep_their_own_scales() -> None:
    similarity = _similarity(2, 2)
    figure = draw_dot_product(similarity, similarity * 40, 4)
    assert figure.axes[0].images[0].get_clim() == (-1, 1)
    assert figure.axes[1].images[0].get_clim()[0] == pytest.approx(-40)


def test_curves_carry_their_correlation() -> None:
    line = np.array([1.0, 2.0])
    curve = Curve("before fine-tuning", line, line, line - 1, line + 1)
    figure = draw_distance([curve, curve], [-0.5, None], "Alike?")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["before fine-tuning (rank correlation -0.500)", "before fine-tuning (rank correlation undefined)"]


def test_heads_are_points_and_even_attention_a_line() -> None:
    figure = draw_attention_distance(np.array([[1.0, 3.0], [5.0, 5.0]]), 4.2, 16)
    (axes,) = figure.axes
    assert np.asarray(axes.collections[0].get_offsets()).tolist() == [[1, 1], [1, 3], [2, 5], [2, 5]]
    assert list(axes.lines[0].get_ydata()) == [2, 5]
    assert axes.get_ylabel() == "mean attention distance (patches)"
    assert "even attention, 4.2" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_bias_has_a_tile_a_layer_and_head() -> None:
    bias = np.zeros((3, 2, 5, 7))
    bias[2, 0] = -2
    axes = draw_bias(bias).axes[0]
    picture = np.asarray(axes.images[0].get_array(), float)
    assert picture.shape == (5 + 1 + 5, 7 + 1 + 7 + 1 + 7)
    assert picture[:5, -7:].tolist() == np.full((5, 7), -2.0).tolist()
    assert axes.images[0].get_clim() == (-2, 2)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["head 1", "head 2"]
