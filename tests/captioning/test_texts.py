import math

import pytest

from vit_atlas.captioning.measure.texts import cider, text_scores

REFERENCES = [
    ["A dog runs over the green grass.", "a brown dog on grass"],
    ["Two men climb a steep wall of rock.", "people climb"],
    ["A child in a red coat plays in snow.", "a small child plays"],
]


def test_perfect_captions_have_perfect_bleu_and_match():
    captions = [texts[0].upper() for texts in REFERENCES]
    scores = text_scores(captions, REFERENCES)
    assert scores["exact_match"] == 1
    assert all(scores[f"bleu_{n}"] == pytest.approx(1) for n in range(1, 5))


def test_bleu_counts_ngrams_against_all_references():
    scores = text_scores(["a dog on grass"], [["a dog on sand", "the grass"]])
    assert scores["bleu_1"] == pytest.approx(1)
    assert scores["bleu_2"] == pytest.approx(math.sqrt(2 / 3))
    assert scores["bleu_4"] == 0
    assert scores["exact_match"] == 0


def test_cider_of_the_references_themselves_is_ten():
    texts = [["alpha beta gamma delta"], ["one two three four"]]
    assert cider([t[0].split() for t in texts], [[t[0].split()] for t in texts]) == pytest.approx(10)


def test_cider_by_hand():
    references = [[["a", "dog", "runs"]], [["a", "cat"]]]
    captions = [["a", "dog"], ["a", "cat"]]
    # "a" is in both photos, so its weight is log(2 / 2) = 0; every other n-gram is in one photo: log 2 each.
    unigrams = 1 / math.sqrt(2)  # (dog) against (dog, runs)
    bigrams = 1 / math.sqrt(2)  # (a dog) against (a dog, dog runs)
    first = (unigrams + bigrams) / 4 * math.exp(-1 / 72)
    second = (1 + 1) / 4
    assert cider(captions, references) == pytest.approx(10 * (first + second) / 2)


def test_cider_clips_repeated_words_and_punishes_other_lengths():
    references = [[["dog", "runs"]], [["cat", "sits"]]]
    good = cider([["dog", "runs"], ["cat", "sits"]], references)
    repeated = cider([["dog"] * 8, ["cat"] * 8], references)
    assert repeated < 0.2 * good


def test_cider_weighs_rare_words_more():
    references = [[["a", "zebra"]], [["a", "dog"]], [["a", "dog"]]]
    rare = cider([["zebra"], ["x"], ["x"]], references)
    common = cider([["x"], ["dog"], ["x"]], references)
    assert rare == pytest.approx(common), "a lone unigram matches fully whatever its weight"
    rare = cider([["zebra", "y"], ["x"], ["x"]], references)
    common = cider([["x"], ["dog", "y"], ["x"]], references)
    assert rare > common


def test_empty_caption_scores_nothing():
    assert text_scores(["", "a dog"], [["a cat"], ["a dog"]])["exact_match"] == 0.5
