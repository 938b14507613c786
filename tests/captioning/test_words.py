import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from vit_atlas.captioning.model.words import Word, piece_style, to_words


def maps_for(count):
    return torch.arange(count, dtype=torch.float32).reshape(count, 1, 1, 1, 1).expand(count, 2, 3, 2, 4)


@pytest.mark.parametrize(
    ("style", "pieces", "expected"),
    [
        ("words", ["a", "dog"], [("a", [0]), ("dog", [1])]),
        ("wordpiece", ["a", "snow", "##board", "##er", "."], [("a", [0]), ("snowboarder", [1, 2, 3]), (".", [4])]),
        (
            "bytelevel",
            ["a", "Ġsnow", "board", "Ġrun", "."],
            [("a", [0]), ("snowboard", [1, 2]), ("run", [3]), (".", [4])],
        ),
        ("bytelevel", ["Ġdog", "'s", "Ġcaf", "Ã©"], [("dog's", [0, 1]), ("café", [2, 3])]),
        ("metaspace", ["▁a", "▁snow", "board"], [("a", [0]), ("snowboard", [1, 2])]),
    ],
)
def test_pieces_become_words(style, pieces, expected):
    log_probabilities = [-0.1 * (index + 1) for index in range(len(pieces))]
    words = to_words(pieces, log_probabilities, maps_for(len(pieces)), style)
    assert [word.text for word in words] == [text for text, _ in expected]
    for word, (_, members) in zip(words, expected, strict=True):
        assert word.log_probability == pytest.approx(sum(log_probabilities[member] for member in members))
        np.testing.assert_allclose(word.maps, np.full((2, 3, 2, 4), np.mean(members)))


def test_no_pieces_no_words():
    assert to_words([], [], torch.zeros(0, 2, 3, 2, 4), "words") == ()


def test_map_of_layer_and_head_and_their_mean():
    maps = np.zeros((2, 2, 1, 4), np.float32)
    maps[0, 0, 0, 0] = maps[0, 1, 0, 1] = maps[1, 0, 0, 2] = maps[1, 1, 0, 2] = 1.0
    word = Word("dog", 0.0, maps)
    np.testing.assert_allclose(word.map()[0], [0.25, 0.25, 0.5, 0])
    np.testing.assert_allclose(word.map(layer=-1)[0], [0, 0, 1, 0])
    np.testing.assert_allclose(word.map(layer=0, head=1)[0], [0, 1, 0, 0])


@pytest.mark.parametrize(
    ("vocabulary", "style"),
    [
        (["a", "dog"], "words"),
        (["a", "##s", "dog"], "wordpiece"),
        (["a", "Ġdog"], "bytelevel"),
        (["▁a", "▁dog"], "metaspace"),
    ],
)
def test_style_is_read_from_the_vocabulary(vocabulary, style):
    model = models.WordLevel({piece: index for index, piece in enumerate(vocabulary)}, unk_token="a")
    assert piece_style(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))) == style
