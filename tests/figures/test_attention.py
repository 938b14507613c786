"""Overlays lie where the map says, and panels say what they show."""

import numpy as np
from PIL import Image

from vit_atlas.figures.attention import Guess, draw_photo, overlay, small

GREY = Image.new("RGB", (40, 20), (128, 128, 128))


def test_heat_is_where_the_map_is_high_on_a_photo_that_is_not_square() -> None:
    values = np.zeros((2, 4))
    values[1, 3] = 0.02
    picture = overlay(GREY, values)
    assert picture.shape == (20, 40, 3)
    change = np.abs(picture - overlay(GREY, np.zeros((2, 4)))).sum(axis=2)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert row >= 10
    assert column >= 30
    assert change[:8, :25].max() < 1e-6


def test_the_photo_stays_visible_under_the_hottest_spot() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8))
    picture = overlay(photo, np.ones((2, 4)))
    original = np.asarray(photo)[..., 0].ravel().astype(float)
    assert np.corrcoef(original, picture[..., 0].ravel())[0, 1] > 0.99
    assert np.ptp(picture[..., 0]) > 0.15


def test_scale_of_the_map_does_not_matter() -> None:
    values = np.random.default_rng(0).random((2, 4))
    np.testing.assert_allclose(overlay(GREY, values), overlay(GREY, values * 1e-3), atol=1e-5)


def test_every_head_has_a_panel_and_the_title_tells_the_guess() -> None:
    heads = np.random.default_rng(0).random((12, 3, 3))
    right = draw_photo(GREY, heads.mean(axis=0), heads, Guess("a.jpg", "cat", "cat", 0.914), "layer 2 of 3")
    titles = [axes.get_title() for axes in right.axes if axes.get_title()]
    assert titles[0] == "photo"
    assert titles[1].startswith("mean of 12 heads")
    assert [title.split(",")[0] for title in titles[2:]] == [f"head {index + 1}" for index in range(12)]
    assert "a.jpg: right, cat, confidence 91%" in right.get_suptitle()
    assert "layer 2 of 3" in right.get_suptitle()
    wrong = draw_photo(GREY, heads.mean(axis=0), heads[:2], Guess("a.jpg", "cat", "dog", 0.5), "layer 2 of 3")
    assert "a.jpg: cat, taken for dog, confidence 50%" in wrong.get_suptitle()


def test_small_keeps_proportions_and_the_original() -> None:
    photo = Image.new("RGB", (1000, 500))
    assert small(photo, 100).size == (100, 50)
    assert photo.size == (1000, 500)
