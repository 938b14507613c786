import pytest
from transformers import AutoTokenizer

from vit_atlas.captioning.model.vocabulary import SPECIAL, learn_vocabulary, to_tokens, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog , running .", ["a", "dog", "running"]),
        ("Two men's T-shirts!", ["two", "men's", "t-shirts"]),
        ("a dog 's ear", ["a", "dog", "'s", "ear"]),
        ("Café № 5", ["café", "no", "5"]),
        (" ... ", []),
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
