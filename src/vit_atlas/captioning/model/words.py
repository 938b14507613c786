"""From the pieces that a tokenizer writes to the words that a person reads, each with the map that belongs to it.

The attention of the query at place i of a caption is where the network looked to predict place i + 1. The search hands
each token over with the map of the step that predicted it, so pieces and maps stand side by side here; start, end and
padding never arrive.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from vit_atlas.captioning.model.vocabulary import join_words

PieceStyle = Literal["words", "wordpiece", "bytelevel", "metaspace"]
"""How a tokenizer marks where words begin: every piece is one; `##` goes on; `Ġ` or `▁` begins one."""


@dataclass(frozen=True)
class Word:
    """One word of a caption."""

    text: str
    """As it reads."""
    log_probability: float
    """Of the whole word, given the words before it."""
    maps: np.ndarray
    """(layers, heads, rows, columns), float32: where the network looked to predict it; the mean over its pieces."""

    def map(self, layer: int | None = None, head: int | None = None) -> np.ndarray:
        """One map (rows, columns): of a layer and head, or the mean over all where None; it sums to 1."""
        layers = self.maps if layer is None else self.maps[[layer]]
        chosen = layers if head is None else layers[:, [head]]
        mean = chosen.mean(axis=(0, 1))
        return mean / max(float(mean.sum()), 1e-12)


@dataclass(frozen=True)
class Caption:
    """A caption and where the network looked for each word of it."""

    words: tuple[Word, ...]
    ended: bool
    """False: cut at the longest length allowed."""
    score: float
    """Log-probability of the whole caption, its end included, as the search compared it."""

    @property
    def text(self) -> str:
        """The words as a line of text."""
        return join_words([word.text for word in self.words])


def piece_style(tokenizer: Any) -> PieceStyle:
    """Tell how ``tokenizer`` (a Hugging Face one) marks the beginning of words, by the pieces that it knows."""
    vocabulary = tokenizer.get_vocab()
    marks: list[tuple[str, PieceStyle]] = [("##", "wordpiece"), ("Ġ", "bytelevel"), ("▁", "metaspace")]
    counts = {style: sum(piece.startswith(mark) for piece in vocabulary) for mark, style in marks}
    style = max(counts, key=counts.__getitem__)
    return style if counts[style] else "words"


def to_words(
    pieces: Sequence[str], log_probabilities: Sequence[float], maps: Tensor, style: PieceStyle
) -> tuple[Word, ...]:
    """Merge pieces into words.

    Args:
        pieces: what the tokenizer calls each token.
        log_probabilities: of each token.
        maps: (tokens, layers, heads, rows, columns): where the network looked to predict each token.
        style: how words begin.

    Returns:
        One word for each group of pieces: log-probabilities are added, maps averaged. Punctuation that stands alone
        stays alone.
    """
    arrays = maps.float().cpu().numpy()
    words = []
    for group in _groups(pieces, style):
        text = _text([pieces[index] for index in group], style)
        if text:
            total = float(sum(log_probabilities[index] for index in group))
            words.append(Word(text, total, arrays[group].mean(axis=0)))
    return tuple(words)


def _groups(pieces: Sequence[str], style: PieceStyle) -> Iterator[list[int]]:
    group: list[int] = []
    for index, piece in enumerate(pieces):
        if group and _begins_word(piece, pieces[index - 1], style):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _begins_word(piece: str, before: str, style: PieceStyle) -> bool:
    if style == "words":
        return True
    if style == "wordpiece":
        return not piece.startswith("##")
    mark = "Ġ" if style == "bytelevel" else "▁"
    if piece.startswith(mark):
        return True
    return _is_punctuation(piece) or _is_punctuation(before.removeprefix(mark))


def _text(pieces: list[str], style: PieceStyle) -> str:
    if style == "wordpiece":
        return pieces[0] + "".join(piece.removeprefix("##") for piece in pieces[1:])
    if style == "bytelevel":
        return _from_bytes("".join(pieces)).strip()
    return "".join(pieces).replace("▁", " ").strip()


def _is_punctuation(piece: str) -> bool:
    return bool(piece) and all(unicodedata.category(character).startswith("P") for character in piece)


def _from_bytes(text: str) -> str:
    """Undo the byte-level alphabet of GPT-2, in which every byte is one printable character.

    References:
        Radford et al., "Language models are unsupervised multitask learners" (2019).
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}
    return bytes(table.get(character, ord("?")) for character in text).decode("utf-8", errors="replace")
