"""Pictures of evaluate: drawn for every number of mistakes, the same bytes each time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vit_atlas.figures import style
from vit_atlas.figures.evaluation import Mistake, draw_confusion, draw_history, draw_mistakes, draw_reliability


def mistakes(count: int, size: tuple[int, int] = (64, 48)) -> list[Mistake]:
    photo = Image.new("RGB", size, (200, 120, 40))
    return [Mistake(photo, "a_rather_long_name_of_class", "$x_y$", 0.9)] * count


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_any_number_of_mistakes(count: int) -> None:
    figure = draw_mistakes(mistakes(count), 20)
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == max(1, count)
    texts = " ".join(text.get_text() for axes in visible for text in [*axes.texts, axes.title, axes.xaxis.label])
    assert ("No mistakes on 20 test photos" in texts) == (count == 0)
    assert ("taken for $x y$" in texts) == (count > 0)
    assert ("90.0%" in texts) == (count > 0)


@pytest.mark.parametrize("size", [(900, 20), (20, 900), (1, 1)])
def test_any_shape_of_photo(tmp_path: Path, size: tuple[int, int]) -> None:
    style.save(draw_mistakes(mistakes(2, size), 20), tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (round(2 * 2.9 * style.DPI), round(3.2 * style.DPI))


def test_a_picture_is_the_same_bytes_each_time_and_carries_no_software_name(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        style.save(draw_mistakes(mistakes(1), 20), tmp_path / name)
    content = (tmp_path / "one.png").read_bytes()
    assert content == (tmp_path / "two.png").read_bytes()
    assert b"Matplotlib" not in content


def test_confusion_shows_shares_of_the_true_class() -> None:
    table = pd.DataFrame({"actual": ["a", "a", "a", "a", "b"], "predicted": ["a", "a", "a", "b", "b"]})
    axes = draw_confusion(table, ["a", "b", "c"]).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert sorted(text.get_text() for text in axes.texts) == ["1", "1", "3"]


def test_curves_skip_empty_cells_and_missing_columns() -> None:
    history = pd.DataFrame({"step": [1, 2, 3], "train_loss": [3.0, 2.0, 1.0], "val_loss": [None, None, 1.5]})
    left, right = draw_history(history).axes
    assert [line.get_xdata().tolist() for line in left.lines] == [[1, 2, 3], [3]]
    assert not right.lines


def test_reliability_draws_one_point_a_bin() -> None:
    table = pd.DataFrame({"confidence": [0.2, 0.9], "accuracy": [0.3, 0.8], "count": [3, 30]})
    axes = draw_reliability(table).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[0.2, 0.3], [0.9, 0.8]]
