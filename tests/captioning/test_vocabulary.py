import pytest
from transformers import AutoTokenizer

from vit_atlas.captioning.model.vocabulary import SPECIAL, join_words, learn_vocabulary, to_tokens, words_of
from vit_atlas.errors import AtlasError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog , running .", ["a", "dog", "running"]),
        ("Two men's T-shirts!", ["two", "men's", "t-shirts"]),
        ("a dog 's ear", ["a", "dog", "'s", "ear"]),
        ("Café № 5", ["café", "no", "5"]),
        (" ... ", []),
        ("一只猫!坐在A4纸上。", ["一", "只", "猫", "坐", "在", "a4", "纸", "上"]),
        ("ネコがいる", ["ネコ", "が", "い", "る"]),
        ("고양이 한 마리", ["고양이", "한", "마리"]),
        ("แมว\u200bนั่ง", ["แมว", "นั่ง"]),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_rare_words_are_unknown_and_the_tokenizer_travels(tmp_path):
    tokenizer = learn_vocabulary(["A dog.", "a cat", "A dog and a horse"], minimum_count=2)
    assert set(tokenizer.get_vocab()) == {*SPECIAL, "a", "dog"}
    tokens = to_tokens(tokenizer, "A dog, a cat", 32)
    assert tokenizer.convert_ids_to_tokens(tokens) == ["[start]", "a", "dog", "a", "[unknown]", "[end]"]
    tokenizer.save_pretrained(tmp_path)
    assert to_tokens(AutoTokenizer.from_pretrained(tmp_path), "A dog, a cat", 32) == tokens
    assert tokenizer.get_vocab()["[pad]"] == 0


def test_a_long_caption_is_cut_with_its_end_left_open():
    tokenizer = learn_vocabulary(["a dog"], minimum_count=1)
    assert tokenizer.convert_ids_to_tokens(to_tokens(tokenizer, "a dog a dog a dog", 4)) == ["[start]", "a", "dog", "a"]


@pytest.mark.parametrize(
    "text", ["a dog and a t-shirt", "一只猫坐在 a4 纸上", "ネコ がいる", "고양이 한 마리", "it ' s a dog ."]
)
def test_words_are_joined_as_their_script_is_written(text):
    assert join_words(text.split(" ") if text.isascii() else words_of(text)) == text


def test_scripts_whose_words_nothing_tells_apart_are_one_sentence():
    with pytest.raises(AtlasError, match=r"without spaces between words \(แมวนั่งอยู่บนเก้าอี้\)"):
        learn_vocabulary(["แมวนั่งอยู่บนเก้าอี้"] * 5, minimum_count=1)
    assert "แมว" in learn_vocabulary(["แมว นั่งอยู่ บน เก้าอี้"], minimum_count=1).get_vocab()


def test_a_count_that_no_word_reaches_is_one_sentence():
    with pytest.raises(AtlasError, match=r"captioner\.minimum_count is 3, and no word of the 2 training captions"):
        learn_vocabulary(["a dog", "a cat"], minimum_count=3)
