import numpy as np
import pytest
from PIL import Image

from vit_atlas.explain.classify import Prediction
from vit_atlas.explain.figure import draw_explanation


@pytest.mark.parametrize("size", [(400, 300), (60, 600), (900, 40)])
@pytest.mark.parametrize("maps", [1, 3, 11])
def test_photo_maps_and_predictions_have_a_place_whatever_their_number(size, maps):
    predictions = [Prediction("a class with a very long name that goes on and on", 0.7), Prediction("b $x$", 0.3)]
    figure = draw_explanation(
        Image.new("RGB", size, (90, 120, 40)),
        {f"map {index}": np.eye(4, dtype=np.float32) for index in range(maps)},
        predictions,
        "p.jpg",
        "the head reads the mean of the patches and no class token",
    )
    figure.draw_without_rendering()
    axes = [panel for part in figure.subfigs for panel in part.axes if panel.get_visible()]
    titles = [panel.get_title() for panel in axes]
    assert titles[: 1 + maps] == ["photo", *(f"map {index}" for index in range(maps))]
    texts = [text.get_text() for text in axes[-1].texts]
    assert texts[0] == "a class with a very long na…  70.0%"
    assert texts[1] == "b $x$  30.0%"
    renderer = figure.canvas.get_renderer()
    boxes = [panel.get_window_extent(renderer) for panel in axes[: 1 + maps]]
    assert all(box.width > 20 and box.height > 10 for box in boxes)
    outer = figure.bbox
    for panel in axes:
        box = panel.get_tightbbox(renderer)
        assert box.x0 >= outer.x0 - 2
        assert box.x1 <= outer.x1 + 2
        assert box.y1 <= outer.y1 + 2
