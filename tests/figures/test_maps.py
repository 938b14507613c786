"""Pictures of map methods carry the right numbers, labels and places."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vit_atlas.figures.attention import Guess
from vit_atlas.figures.differences import Change, draw_difference
from vit_atlas.figures.maps import (
    Bar,
    Panel,
    Row,
    draw_classes,
    draw_comparison,
    draw_layers,
    draw_norms,
    draw_scores,
)

PHOTO = Image.new("RGB", (40, 20), (90, 90, 90))
GUESS = Guess("a.jpg", "cat", "dog", 0.6)
RANDOM = np.random.default_rng(0)


def _row(mask: np.ndarray | None, score: str) -> Row:
    return Row(
        PHOTO, GUESS, mask, [Panel("LeGrad", RANDOM.random((2, 4)), score), Panel("rollout", np.zeros((2, 4)), "")]
    )


def test_comparison_has_a_row_a_photo_with_outline_and_score() -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[5:15, 10:30] = 1
    figure = draw_comparison([_row(mask, "0.71"), _row(None, "")], "IoU with the mask")
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["cat", "LeGrad", "rollout"] * 2
    assert panels[0].get_xlabel() == "as dog, 60%"
    assert panels[1].get_xlabel() == "0.71"
    outline = panels[1].collections[0].get_paths()[0].get_extents()
    assert (outline.x0, outline.x1) == pytest.approx((9.5, 29.5))
    assert (outline.y0, outline.y1) == pytest.approx((4.5, 14.5))
    assert not panels[3].collections
    assert "IoU with the mask" in figure.get_suptitle()


def test_layers_grid_puts_layers_in_columns_and_heads_in_rows() -> None:
    maps = np.zeros((3, 2, 2, 4))
    maps[2, 1] = 1
    figure = draw_layers(PHOTO, maps, GUESS, "the head reads the mean of the patches")
    assert figure.get_suptitle().endswith("attention in every layer and head (the head reads the mean of the patches)")
    axes = figure.axes[0]
    picture = np.asarray(axes.images[0].get_array())
    hottest = picture[..., 0] - picture[..., 2]
    row, column = np.unravel_index(hottest.argmax(), hottest.shape)
    assert row > 20
    assert column > 2 * 40
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["head 1", "head 2"]


def test_bars_show_values_intervals_and_baselines() -> None:
    bars = [Bar("LeGrad", 0.5, 0.4, 0.65, False), Bar("random", -0.001, -0.1, 0.1, True)]
    figure = draw_scores({"mIoU": bars, "mass": bars[:1]}, 48)
    axes = figure.axes[0]
    assert [patch.get_width() for patch in axes.patches] == [0.5, -0.001]
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["LeGrad", "random"]
    assert [text.get_text() for text in axes.texts] == ["0.50", "0.00"]
    segments = [segment for line in axes.collections for segment in line.get_segments()]
    assert any(np.allclose(sorted(segment[:, 0]), [0.4, 0.65]) for segment in segments)
    assert "48 test photos" in figure.get_suptitle()


def test_table_by_class_leaves_gaps_where_nothing_is_known() -> None:
    table = pd.DataFrame({"photos": [3, 1], "x": [0.25, np.nan]}, index=["cat", "dog"])
    axes = draw_classes(table, {"x": "method x"}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.25"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat (3)", "dog (1)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["method x"]


def test_norms_mark_the_threshold_in_place() -> None:
    edges = np.linspace(0, 3, 31)
    counts = np.zeros((2, 30), int)
    counts[:, 10:13], counts[1, 25] = 40, 2
    figure = draw_norms(edges, counts, [None, 100.0])
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(2)
    assert figure.axes[1].get_title() == "layer 2: outliers above 100"
    assert figure.axes[1].lines[0].get_xdata()[0] == pytest.approx(2)
    assert "no outliers" in draw_norms(edges, counts, [None, None]).axes[1].get_title()


def test_difference_has_old_new_and_change_of_each_method() -> None:
    change = np.array([[1.0, -2.0], [0.5, 0.5]])
    changes = [Change("LeGrad", np.ones((2, 2)), np.ones((2, 2)), change, 0.25)]
    figure = draw_difference(PHOTO, "a.jpg", changes, ("cat", "dog", "dog minus cat"))
    panels = [axes for axes in figure.axes if axes.images]
    red, _, blue = np.moveaxis(panels[2].images[0].get_array()[[0, 0], [0, -1]], -1, 0)
    assert red[0] > blue[0], "more is red"
    assert red[1] < blue[1], "less is blue"
    assert panels[2].get_xlabel() == "moved 25%, colours to 2"
    assert [panel.get_ylabel() for panel in panels] == ["cat", "dog", "dog minus cat"]
