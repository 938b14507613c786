import math

import numpy as np
import pytest
from PIL import Image

from tests.captioning.test_summary import metrics_of
from vit_atlas.captioning.measure.word_maps import (
    View,
    chance,
    correlation,
    entropy,
    noun_masks,
    word_scores,
)
from vit_atlas.captioning.model.words import Caption, Word
from vit_atlas.captioning.tables import NounMask

LEFT = np.array([[1.0, 0.0], [1.0, 0.0]])
RIGHT = np.array([[0.0, 1.0], [0.0, 1.0]])
EVEN = np.ones((2, 2))


def word(text, values):
    return Word(text, -0.1, np.asarray(values, np.float32).reshape(1, 1, 2, 2) / np.sum(values))


def metrics(words, masks=None, nouns=("dog", "rose")):
    return metrics_of([word_scores(Caption(tuple(words), True, 0.0), masks or {}, set(nouns), View())])


def half(side):
    mask = np.zeros((40, 40), np.uint8)
    mask[:, : 20 if side == "left" else None] = 1
    if side == "right":
        mask[:, :20] = 0
    return mask


def test_a_noun_that_looks_at_its_thing_is_correct():
    found = metrics([word("dog", LEFT)], {"dog": half("left")})
    assert found["nouns_scored"] == 1
    assert found["noun_mass"] > 0.8
    assert found["noun_pointing"] == 1
    assert found["noun_mass_uniform"] == found["noun_pointing_uniform"] == pytest.approx(0.5)
    assert found["noun_mass_gaussian"] == pytest.approx(0.5, abs=0.01)
    assert found["noun_mass_layer_1"] == found["noun_mass"]


def test_a_noun_that_looks_away_is_not():
    found = metrics([word("dog", RIGHT)], {"dog": half("left")})
    assert found["noun_mass"] < 0.2
    assert found["noun_pointing"] == 0
    assert found["noun_iou"] == 0
    assert found["noun_mass_to_uniform"] < 0.4
    assert found["noun_at_chance"] == 1


def test_a_map_that_is_the_same_for_every_word_is_no_better_than_the_captions():
    masks = {"dog": half("left")}
    same = metrics([word("dog", LEFT), word("runs", LEFT)], masks)
    assert same["noun_iou"] == pytest.approx(1)
    assert same["noun_iou_over_caption"] == same["noun_mass_over_caption"] == pytest.approx(0)
    own = metrics([word("dog", LEFT), word("runs", RIGHT)], masks)
    assert own["noun_mass_caption"] == pytest.approx(0.5)
    assert own["noun_mass_over_caption"] > 0.3


def test_a_map_is_better_than_chance_where_few_of_its_moves_do_as_well():
    mask = np.zeros((60, 60), np.uint8)
    mask[10:30, 20:40] = 1
    there, beside = np.zeros((6, 6)), np.zeros((6, 6))
    there[1:3, 2:4] = beside[3:5, 2:4] = 1
    assert chance(there, mask) == 1 / 36
    assert chance(beside, mask) == 1
    assert chance(np.ones((6, 6)), mask) == 1
    mask[:] = 1
    mask[0] = 0
    assert chance(there, mask) > 0.5, "where the thing is nearly everything, no map can show that it looks there"


def test_nouns_without_a_mask_and_other_words_are_not_scored():
    assert metrics([word("rose", LEFT), word("runs", LEFT)], {"dog": half("left")})["nouns_scored"] == 0


def test_article_and_noun_against_other_neighbours():
    found = metrics([word("a", LEFT), word("red", EVEN + LEFT), word("rose", LEFT), word("above", RIGHT)])
    assert found["article_noun_pairs"] == 1
    assert found["article_noun_correlation"] == pytest.approx(1)
    assert found["other_neighbours_correlation"] == pytest.approx(-1), "words inside the phrase do not count"


def test_an_article_belongs_to_the_next_noun_only():
    found = metrics([word("the", LEFT), word("a", LEFT), word("dog", LEFT)])
    assert found["article_noun_pairs"] == 1


def test_relation_words_spread_over_both_things():
    masks = {"dog": half("left"), "rose": half("right")}
    found = metrics([word("dog", LEFT), word("above", EVEN), word("rose", RIGHT)], masks)
    assert found["relation_words"] == 1
    assert found["relation_entropy"] == pytest.approx(1)
    assert found["noun_entropy"] == pytest.approx(0.5)
    assert found["relation_both_mass"] == pytest.approx(1)
    assert found["relation_lesser_mass"] == pytest.approx(0.5, abs=0.02)
    assert found["noun_lesser_mass"] < 0.2


def test_two_nouns_of_one_thing_are_not_two_things():
    masks = {"dog": half("left"), "puppy": half("left")}
    found = metrics([word("dog", LEFT), word("above", EVEN)], masks, nouns=("dog", "puppy"))
    assert found["nouns_scored"] == 1
    assert found["noun_lesser_mass"] is None


def test_nothing_to_measure_is_none_not_nan():
    found = metrics([])
    assert found["noun_mass"] is None
    assert found["article_noun_correlation"] is None
    assert found["nouns_scored"] == 0


def test_entropy_and_correlation():
    assert entropy(np.array([[1.0, 0.0]])) == 0
    assert entropy(np.full((2, 2), 0.25)) == pytest.approx(1)
    assert entropy(np.array([[1.0]])) == 0
    assert correlation(LEFT, EVEN) is None
    assert correlation(LEFT, RIGHT) == pytest.approx(-1)
    assert not math.isnan(entropy(np.zeros((2, 2))))


def test_masks_of_one_noun_are_one_and_one_that_does_not_fit_is_left_out_by_name(tmp_path):
    for name, box in [("one", (0, 0, 3, 10)), ("two", (6, 0, 8, 10))]:
        mask = Image.new("L", (8, 10))
        mask.paste(255, box)
        mask.save(tmp_path / f"{name}.png")
    things = [NounMask("dog", tmp_path / "one.png"), NounMask("dog", tmp_path / "two.png")]
    masks, problems = noun_masks(things, (10, 8))
    assert masks["dog"].sum() == 50
    assert problems == []
    Image.new("L", (10, 8), 255).save(tmp_path / "turned.png")
    masks, problems = noun_masks([*things, NounMask("cat", tmp_path / "turned.png")], (10, 8))
    assert list(masks) == ["dog"]
    assert "turned.png cannot be read as a mask: it has 10x8 pixels, the photo 8x10" in problems[0]
    assert "`cat` is not scored in this photo" in problems[0]


def test_a_box_is_a_mask_and_one_beside_the_photo_is_told():
    masks, problems = noun_masks(
        [NounMask("dog", None, (0.4, 2, 3, 10.3)), NounMask("dog", None, (6, 0, 8, 1))], (10, 8)
    )
    assert problems == []
    assert masks["dog"].sum() == 3 * 8 + 2
    for box in ((0, 0, 80, 100), (0.1, 0.1, 0.4, 0.4), (-5, 0, 3, 3)):
        masks, problems = noun_masks([NounMask("dog", None, box)], (10, 8))
        assert masks == {}
        assert "is not one in a photo of 8x10 pixels" in problems[0]
        assert "`dog` is not scored in this photo" in problems[0]
