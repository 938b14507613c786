"""Where captions' words looked, as numbers: nouns against masks, and the report's sentences about small words.

- Attention correctness: the share of a noun's map that lies inside the noun's mask, and whether the map's peak does,
  beside an even map and a Gaussian in the photo's centre.
- "`a` and its noun have similar maps": correlation between the maps of an article and of its noun, against that of
  other neighbours in the caption.
- "`next to` does not focus on one object": entropy of relation words' maps against nouns', and how their mass is
  divided between two objects.

References:
    Liu et al., "Attention correctness in neural image captioning" (2017), https://arxiv.org/abs/1605.09553.
    Zhang et al., "Top-down neural attention by excitation backprop" (2016): the pointing game.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vit_atlas.attention.maps import centre_gaussian
from vit_atlas.attention.scores import PhotoScores, comparison_size, resize_mask, score_photo, usable
from vit_atlas.captioning.dataset import NounMask
from vit_atlas.captioning.model.words import Caption, Word
from vit_atlas.data.photos import open_mask
from vit_atlas.errors import AtlasError

ARTICLES = {"a", "an", "the", "one"}
RELATIONS = set(
    """
    above across against along around at behind below beneath beside between by from in inside into left near next of
    off on onto over past right through to towards under underneath with
    """.split()  # noqa: SIM905
)
BASELINES = ("uniform", "gaussian")
REACH = 3
"""An article's noun is at most this many words after it: colours and the like may stand between."""

Array = np.ndarray


@dataclass
class Tally:
    """Values gathered from all captions, by name."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add one value."""
        self.values.setdefault(name, []).append(value)

    def take(self, other: "Tally") -> None:
        """Add all values of another."""
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)

    def means(self, names: Iterable[str]) -> dict[str, float | None]:
        """The mean of each, None where there is no value."""
        return {name: float(np.mean(self.values[name])) if self.values.get(name) else None for name in names}

    def count(self, name: str) -> int:
        """How many values there are."""
        return len(self.values.get(name, []))


@dataclass(frozen=True)
class View:
    """Which map of a word is looked at: one layer and head, or the mean over all where None."""

    layer: int | None = None
    head: int | None = None

    def of(self, word: Word) -> Array:
        """The map (rows, columns), summing to 1."""
        return word.map(self.layer, self.head)


def noun_masks(things: Sequence[NounMask], size: tuple[int, int], photo: Path) -> dict[str, Array]:
    """Masks by noun, uint8 (height, width): 1 inside; several things of one noun are one mask.

    Raises:
        AtlasError: a mask cannot be read or is not of the photo's ``size`` (height, width).
    """
    masks: dict[str, Array] = {}
    for thing in things:
        mask = open_mask(thing.path, "binary")
        if mask.shape != size:
            raise AtlasError(
                f"{thing.path} is {mask.shape[1]}x{mask.shape[0]} pixels and its photo {photo} {size[1]}x{size[0]}: "
                "a mask must have its photo's size"
            )
        masks[thing.noun] = np.maximum(mask, masks[thing.noun]) if thing.noun in masks else mask
    return masks


def tally_caption(tally: Tally, caption: Caption, masks: dict[str, Array], nouns: set[str], view: View) -> None:
    """Add what one caption says to ``tally``.

    Args:
        tally: where values go.
        caption: with its maps.
        masks: of the photo, by noun; may be empty.
        nouns: all nouns that have a mask in any photo.
        view: which maps count.
    """
    for word in caption.words:
        kind = _kind(word.text, nouns)
        if kind:
            tally.add(f"{kind}_entropy", entropy(view.of(word)))
        if kind == "noun" and word.text in masks and usable(masks[word.text]):
            _tally_noun(tally, word, masks[word.text], view)
    _tally_neighbours(tally, caption.words, nouns, view)
    if len(masks) == 2:
        _tally_balance(tally, caption.words, list(masks.values()), nouns, view)


def look_metrics(tally: Tally, layers: int) -> dict[str, float | int | None]:
    """All numbers of this module by name; None where no caption had what one needs."""
    mass = ["noun_mass", *(f"noun_mass_{name}" for name in BASELINES)]
    pointing = ["noun_pointing", *(f"noun_pointing_{name}" for name in BASELINES)]
    by_layer = [f"noun_mass_layer_{layer}" for layer in range(layers)]
    sentences = ["article_noun_correlation", "other_neighbours_correlation", "noun_entropy", "relation_entropy"]
    balance = [f"{kind}_{part}_mass" for kind in ("noun", "relation") for part in ("both", "lesser")]
    return {
        "nouns_scored": tally.count("noun_mass"),
        **tally.means([*mass, *pointing, *by_layer]),
        "article_noun_pairs": tally.count("article_noun_correlation"),
        "relation_words": tally.count("relation_entropy"),
        **tally.means([*sentences, *balance]),
    }


def entropy(values: Array) -> float:
    """Entropy of a map that sums to 1, divided by an even map's: 0 is one place, 1 is everywhere alike."""
    shares = values[values > 0]
    return float(-(shares * np.log(shares)).sum() / math.log(values.size)) if values.size > 1 else 0.0


def correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation of two maps; None where one of them is even."""
    if first.std() < 1e-12 or second.std() < 1e-12:
        return None
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _kind(text: str, nouns: set[str]) -> str | None:
    if text in nouns:
        return "noun"
    return "relation" if text in RELATIONS else None


def _tally_noun(tally: Tally, word: Word, mask: Array, view: View) -> None:
    chosen = view.of(word)
    gaussian = centre_gaussian(*chosen.shape).numpy()
    layers = [word.map(layer) for layer in range(len(word.maps))]
    scores = _scores([chosen, np.full_like(chosen, 1 / chosen.size), gaussian, *layers], mask)
    for index, suffix in enumerate(["", *(f"_{name}" for name in BASELINES)]):
        tally.add(f"noun_mass{suffix}", scores.mass[index])
        # An even map points anywhere, so it hits as often as the mask is large.
        hit = scores.mass if suffix == "_uniform" else scores.pointing
        tally.add(f"noun_pointing{suffix}", hit[index])
    for layer, share in enumerate(scores.mass[3:]):
        tally.add(f"noun_mass_layer_{layer}", share)


def _tally_neighbours(tally: Tally, words: Sequence[Word], nouns: set[str], view: View) -> None:
    phrases = _phrases(words, nouns)
    for first, last in phrases:
        value = correlation(view.of(words[first]), view.of(words[last]))
        if value is not None:
            tally.add("article_noun_correlation", value)
    inside = {index for first, last in phrases for index in range(first, last)}
    for index in range(len(words) - 1):
        value = None if index in inside else correlation(view.of(words[index]), view.of(words[index + 1]))
        if value is not None:
            tally.add("other_neighbours_correlation", value)


def _tally_balance(tally: Tally, words: Sequence[Word], masks: list[Array], nouns: set[str], view: View) -> None:
    """How much of each word's map lies on the two objects together, and on the one that has less."""
    if not all(usable(mask) for mask in masks):
        return
    for word in words:
        kind = _kind(word.text, nouns)
        if kind:
            shares = [_scores([view.of(word)], mask).mass[0] for mask in masks]
            tally.add(f"{kind}_both_mass", min(sum(shares), 1.0))
            tally.add(f"{kind}_lesser_mass", min(shares))


def _phrases(words: Sequence[Word], nouns: set[str]) -> list[tuple[int, int]]:
    """Places of an article and of its noun."""
    found = []
    for first, word in enumerate(words):
        if word.text in ARTICLES:
            ahead = range(first + 1, min(first + 1 + REACH, len(words)))
            last = next((index for index in ahead if words[index].text in nouns), None)
            if last is not None and not any(words[index].text in ARTICLES for index in range(first + 1, last)):
                found.append((first, last))
    return found


def _scores(maps: list[Array], mask: Array) -> PhotoScores:
    height, width = mask.shape
    return score_photo(np.stack(maps), resize_mask(mask, comparison_size((height, width))))
