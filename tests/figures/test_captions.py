import numpy as np
import pytest
from PIL import Image

from vit_atlas.figures.captions import COLUMNS, WordPanel, draw_strip
from vit_atlas.figures.style import save


def panels(count):
    values = np.arange(12.0).reshape(3, 4)
    return [WordPanel(f"word{index}", 0.5, values) for index in range(count)]


@pytest.mark.parametrize(("words", "rows"), [(0, 1), (2, 1), (5, 1), (6, 2), (17, 3), (30, 6)])
@pytest.mark.parametrize("size", [(80, 60), (40, 90)])
def test_long_captions_wrap_and_every_word_has_its_panel(tmp_path, words, rows, size):
    figure = draw_strip(Image.new("RGB", size), panels(words), "a caption", ["a note"])
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.images]
    assert [axes.get_title() for axes in shown] == ["photo", *(f"word{index}" for index in range(words))]
    assert {axes.get_xlabel() for axes in shown[1:]} <= {"p = 0.50"}
    grid = shown[0].get_gridspec()
    assert (grid.nrows, grid.ncols <= COLUMNS) == (rows, True)
    save(figure, tmp_path / "strip.png")


def test_text_is_inside_the_figure(tmp_path):
    note = "a person wrote: " + "a very long sentence about many things " * 6
    figure = draw_strip(Image.new("RGB", (90, 60)), panels(9), "word " * 40, [note])
    save(figure, tmp_path / "strip.png")
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height for box in boxes)
    top = max(axes.get_tightbbox(renderer).y1 for axes in figure.axes if axes.get_visible())
    assert min(box.y0 for box in boxes) >= top - 2
    assert boxes[0].y0 >= boxes[1].y1 - 2
