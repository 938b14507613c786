"""Scores against masks, by definitions written out and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, jaccard_score

from vit_atlas.attention.scores import (
    LEVELS,
    best_threshold,
    comparison_size,
    resize_mask,
    score_photo,
    upsample,
    usable,
)

RANDOM = np.random.default_rng(0)


def _mask(height: int = 12, width: int = 16) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[2:8, 3:9] = 1
    mask[8:10, 3:9] = 255
    return mask


def _levels(mask: np.ndarray) -> np.ndarray:
    """Three maps (3, height, width) as whole levels, the lowest and the highest among them."""
    levels = RANDOM.integers(0, LEVELS, size=(3, *mask.shape))
    levels[:, 0, 0], levels[:, 0, 1] = 0, LEVELS - 1
    return levels


def test_scores_equal_scikit_learn_on_labelled_pixels() -> None:
    mask = _mask()
    levels = _levels(mask)
    maps = levels / (LEVELS - 1)
    scores = score_photo(maps, mask)
    labelled = mask != 255
    truth = mask[labelled] == 1
    for index in range(3):
        values = maps[index][labelled]
        assert scores.ap[index] == pytest.approx(average_precision_score(truth, values))
        assert scores.mass[index] == pytest.approx(values[truth].sum() / values.sum(), rel=1e-5)
        for level in (0, 60, 200, LEVELS - 1):
            expected = jaccard_score(truth, values >= level / (LEVELS - 1) - 1e-9)
            assert scores.iou[index, level] == pytest.approx(expected)


def test_the_literatures_protocol_by_its_definition() -> None:
    mask = _mask()
    levels = _levels(mask)
    maps = levels / (LEVELS - 1)
    scores = score_photo(maps, mask)
    labelled = mask != 255
    truth = mask[labelled] == 1
    for index in range(3):
        chosen = (maps[index] > maps[index].mean())[labelled]
        hit, spilled, missed, rest = scores.cut[index] * mask.size
        assert hit / (hit + spilled + missed) == pytest.approx(jaccard_score(truth, chosen))
        assert rest / (rest + spilled + missed) == pytest.approx(jaccard_score(~truth, ~chosen))
        assert (hit + rest) / labelled.sum() == pytest.approx((truth == chosen).mean())
        both = np.concatenate([levels[index][labelled], LEVELS - 1 - levels[index][labelled]])
        expected = average_precision_score(np.concatenate([truth, ~truth]), both)
        assert scores.ap_both[index] == pytest.approx(expected, abs=1e-6)


def test_perfect_and_opposite_maps() -> None:
    mask = _mask()
    perfect = (mask == 1).astype(float)
    scores = score_photo(np.stack([perfect, 1 - perfect]), mask)
    assert scores.mass[0] == scores.ap[0] == scores.pointing[0] == scores.iou[0].max() == 1
    assert scores.mass[1] == scores.pointing[1] == 0
    assert scores.ap[1] < 0.35


def test_an_even_map_scores_the_objects_share() -> None:
    mask = _mask()
    share = (mask == 1).sum() / (mask != 255).sum()
    scores = score_photo(np.ones((1, 3, 4)), mask)
    assert scores.mass[0] == pytest.approx(share)
    assert scores.pointing[0] == pytest.approx(share)
    assert scores.ap[0] == pytest.approx(share)
    assert scores.iou[0] == pytest.approx(share)
    assert score_photo(np.zeros((1, 3, 4)), mask).mass[0] == pytest.approx(share)


def test_the_border_counts_for_neither() -> None:
    mask = _mask()
    values = np.where(mask == 255, 5.0, np.where(mask == 1, 1.0, 0.1))[None]
    scores = score_photo(values, mask)
    assert scores.pointing[0] == 1
    assert scores.iou[0].max() == 1


def test_scale_of_a_map_does_not_matter() -> None:
    maps = RANDOM.random((1, 4, 5))
    one, other = score_photo(maps, _mask()), score_photo(maps * 1e-4, _mask())
    assert one.mass == pytest.approx(other.mass, rel=1e-4)
    assert one.ap == pytest.approx(other.ap, abs=1e-3)


def test_maps_that_are_not_square_are_stretched_over_the_whole_photo() -> None:
    values = np.zeros((1, 2, 4))
    values[0, 1, 3] = 1
    large = upsample(values, (20, 40))[0]
    row, column = np.unravel_index(large.argmax(), large.shape)
    assert row >= 10
    assert column >= 30


def test_one_threshold_serves_all_photos() -> None:
    iou = np.zeros((2, LEVELS))
    iou[0, 10], iou[1, 20] = 1.0, 1.0
    iou[:, 15] = 0.8
    assert best_threshold(iou) == 15


def test_masks_that_cannot_tell_maps_apart() -> None:
    assert usable(_mask())
    for value in (0, 1, 255):
        assert not usable(np.full((4, 4), value, np.uint8))
    border = np.full((4, 4), 1, np.uint8)
    border[0] = 255
    assert not usable(border)


def test_resizing_a_mask_keeps_its_values() -> None:
    small = resize_mask(np.kron(_mask(), np.ones((3, 2), np.uint8)), (12, 16))
    np.testing.assert_array_equal(small, _mask())


def test_comparison_size_is_bounded_and_keeps_proportions() -> None:
    assert comparison_size((224, 224)) == (224, 224)
    assert comparison_size((56, 112)) == (56, 112)
    assert comparison_size((448, 896)) == (112, 224)
