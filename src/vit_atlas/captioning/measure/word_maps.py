"""Where captions' words looked, as numbers: nouns against masks, and the report's sentences about small words.

- Attention correctness: the share of a noun's map that lies inside the noun's mask, whether the map's peak does, and
  the mask's IoU with the map cut at its mean; beside an even map, a Gaussian in the photo's centre, and the mean map of
  the caption's words, for a map that is the same for every word says nothing of one.
- Chance: whether the noun's map lies on the mask as well after it was moved elsewhere over the photo.
- "`a` and its noun have similar maps": correlation between the maps of an article and of its noun, against that of
  other neighbours in the caption.
- "`next to` does not focus on one object": entropy of relation words' maps against nouns', and how their mass is
  divided between two objects.

References:
    Liu et al., "Attention correctness in neural image captioning" (2017), https://arxiv.org/abs/1605.09553.
    Zhang et al., "Top-down neural attention by excitation backprop" (2016): the pointing game.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vit_atlas.attention.maps import centre_gaussian
from vit_atlas.attention.scores import PhotoScores, comparison_size, object_share, resize_mask, score_photo, usable
from vit_atlas.captioning.model.words import Caption, Word
from vit_atlas.captioning.tables import NounMask
from vit_atlas.data.mask_values import open_mask
from vit_atlas.errors import AtlasError
from vit_atlas.numbering import exists, to_index

ARTICLES = {"a", "an", "the", "one"}
RELATIONS = set(
    """
    above across against along around at behind below beneath beside between by from in inside into left near next of
    off on onto over past right through to towards under underneath with
    """.split()  # noqa: SIM905
)
BASELINES = ("uniform", "gaussian", "caption")
"""Maps that know nothing of a word, in the order in which they are scored after its own."""
CHANCE = 0.05
"""A map is better than chance where at most this share of its moves does as well."""
REACH = 3
"""An article's noun is at most this many words after it: colours and the like may stand between."""

Array = np.ndarray


Scores = dict[str, list[float]]
"""Values by name, such as ``noun_mass``: one for each word (or pair of words) that has it."""


@dataclass(frozen=True)
class View:
    """Which map of a word counts: the layer and head of a number (1 is the first), or the mean over all where None."""

    layer: int | None = None
    head: int | None = None

    def __str__(self) -> str:
        layer = "mean over layers" if self.layer is None else f"layer {self.layer}"
        head = "mean over heads" if self.head is None else f"head {self.head}"
        return f"{layer}, {head}"

    def of(self, word: Word) -> Array:
        """The map (rows, columns), summing to 1."""
        layer, head = (None if number is None else to_index(number) for number in (self.layer, self.head))
        return word.map(layer, head)

    def require(self, caption: Caption, captioner: str) -> None:
        """Check that the layer and head exist in the maps of a caption.

        Args:
            caption: with at least one word.
            captioner: how the message calls what wrote it.

        Raises:
            AtlasError: they do not.
        """
        layers, heads = caption.words[0].maps.shape[:2]
        if self.layer is not None and not exists(self.layer, layers):
            raise AtlasError(
                f"captions.layer is {self.layer}, and {captioner} has {layers} decoder layers: use 1 to {layers}"
            )
        if self.head is not None and not exists(self.head, heads):
            raise AtlasError(
                f"captions.head is {self.head}, and the layers of {captioner} have {heads} heads: use 1 to {heads}"
            )


def noun_masks(things: Sequence[NounMask], size: tuple[int, int]) -> tuple[dict[str, Array], list[str]]:
    """Masks by noun, uint8 (height, width): 1 inside; several things of one noun are one mask, and a box is one, too.

    Args:
        things: what has a mask or a box in the photo.
        size: (height, width) of the photo.

    Returns:
        The masks, and a sentence about each that cannot be read or does not fit: its noun is left out.
    """
    masks: dict[str, Array] = {}
    problems: dict[str, str] = {}
    known: dict[NounMask, Array] = {}
    for thing in things:
        nameless = replace(thing, noun="")
        try:
            if nameless not in known:
                known[nameless] = _open(thing, size)
            mask = known[nameless]
        except AtlasError as error:
            problems[thing.noun] = f"{error}; `{thing.noun}` is not scored in this photo"
            continue
        masks[thing.noun] = np.maximum(mask, masks[thing.noun]) if thing.noun in masks else mask
    return {noun: mask for noun, mask in masks.items() if noun not in problems}, list(problems.values())


def _open(thing: NounMask, size: tuple[int, int]) -> Array:
    if thing.path is not None:
        return open_mask(thing.path, "binary", size[::-1])
    assert thing.box is not None
    height, width = size
    left, top, right, bottom = (round(edge) for edge in thing.box)
    if left < -1 or top < -1 or right > width + 1 or bottom > height + 1 or right <= left or bottom <= top:
        raise AtlasError(
            f"the box {list(thing.box)} is not one in a photo of {width}x{height} pixels: give left, top, right and "
            "bottom edge in pixels of the upright photo"
        )
    mask = np.zeros(size, np.uint8)
    mask[max(top, 0) : bottom, max(left, 0) : right] = 1
    return mask


def word_scores(caption: Caption, masks: dict[str, Array], nouns: set[str], view: View) -> Scores:
    """Score the words of one caption.

    Args:
        caption: with its maps.
        masks: of the photo, by noun; may be empty.
        nouns: all nouns that have a mask in any photo.
        view: which maps count.
    """
    scores: Scores = {}
    maps = [view.of(word) for word in caption.words]
    for word in caption.words:
        kind = _kind(word.text, nouns)
        if kind:
            _add(scores, f"{kind}_entropy", entropy(view.of(word)))
        if kind == "noun" and word.text in masks and usable(masks[word.text]):
            _score_noun(scores, word, np.mean(maps, axis=0), masks[word.text], view)
    _score_neighbours(scores, caption.words, nouns, view)
    things = list({mask.tobytes(): mask for mask in masks.values()}.values())  # nouns may name one thing
    if len(things) == 2:
        _score_balance(scores, caption.words, things, nouns, view)
    return scores


def entropy(values: Array) -> float:
    """Entropy of a map that sums to 1, divided by an even map's: 0 is one place, 1 is everywhere alike."""
    shares = values[values > 0]
    return float(-(shares * np.log(shares)).sum() / math.log(values.size)) if values.size > 1 else 0.0


def chance(values: Array, mask: Array) -> float:
    """How often a map lies on a mask as well as it does now after it was moved elsewhere.

    The map (rows, columns) is moved by every number of places down and to the right, what leaves the photo coming in at
    the other side: a test that keeps the map's form. All maps do well where a mask (height, width) covers nearly
    everything.

    Returns:
        Share of all moves, staying included, after which at least as much of the map lies on the mask.
    """
    inside = object_share(mask, values.shape)
    moved = np.fft.ifft2(np.conj(np.fft.fft2(values)) * np.fft.fft2(inside)).real
    return float((moved >= moved[0, 0] - 1e-6 * moved.max()).mean())


def correlation(first: Array, second: Array) -> float | None:
    """Pearson's correlation of two maps; None where one of them is even."""
    if first.std() < 1e-12 or second.std() < 1e-12:
        return None
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _add(scores: Scores, name: str, value: float) -> None:
    scores.setdefault(name, []).append(value)


def _kind(text: str, nouns: set[str]) -> str | None:
    if text in nouns:
        return "noun"
    return "relation" if text in RELATIONS else None


def _score_noun(scores: Scores, word: Word, caption: Array, mask: Array, view: View) -> None:
    chosen = view.of(word)
    gaussian = centre_gaussian(*chosen.shape).numpy()
    layers = [word.map(layer) for layer in range(len(word.maps))]
    found = _scores([chosen, np.full_like(chosen, 1 / chosen.size), gaussian, caption, *layers], mask)
    hit, spilled, missed, _ = found.cut.T
    iou = hit / (hit + spilled + missed)
    for index, suffix in enumerate(["", *(f"_{name}" for name in BASELINES)]):
        _add(scores, f"noun_mass{suffix}", found.mass[index])
        # An even map points anywhere, so it hits as often as the mask is large; cut, it is the whole photo.
        even = suffix == "_uniform"
        _add(scores, f"noun_pointing{suffix}", found.mass[index] if even else found.pointing[index])
        _add(scores, f"noun_iou{suffix}", found.mass[index] if even else iou[index])
    _add(scores, "noun_at_chance", float(chance(chosen, mask) > CHANCE))
    for layer, share in enumerate(found.mass[1 + len(BASELINES) :], start=1):
        _add(scores, f"noun_mass_layer_{layer}", share)


def _score_neighbours(scores: Scores, words: Sequence[Word], nouns: set[str], view: View) -> None:
    phrases = _phrases(words, nouns)
    for first, last in phrases:
        value = correlation(view.of(words[first]), view.of(words[last]))
        if value is not None:
            _add(scores, "article_noun_correlation", value)
    inside = {index for first, last in phrases for index in range(first, last)}
    for index in range(len(words) - 1):
        value = None if index in inside else correlation(view.of(words[index]), view.of(words[index + 1]))
        if value is not None:
            _add(scores, "other_neighbours_correlation", value)


def _score_balance(scores: Scores, words: Sequence[Word], masks: list[Array], nouns: set[str], view: View) -> None:
    """How much of each word's map lies on the two objects together, and on the one that has less."""
    if not all(usable(mask) for mask in masks):
        return
    for word in words:
        kind = _kind(word.text, nouns)
        if kind:
            shares = [_scores([view.of(word)], mask).mass[0] for mask in masks]
            _add(scores, f"{kind}_both_mass", min(sum(shares), 1.0))
            _add(scores, f"{kind}_lesser_mass", min(shares))


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


def tell(values: Array, mask: Array) -> dict[str, float | bool]:
    """What a page says of a noun's map (rows, columns) and its mask (height, width), for which :func:`usable` holds.

    Returns:
        ``mass``, the map's share on the mask; ``even``, an even map's; ``at_chance``, see :func:`chance`.
    """
    mass, even = _scores([values, np.full_like(values, 1 / values.size)], mask).mass
    return {"mass": float(mass), "even": float(even), "at_chance": chance(values, mask) > CHANCE}


def _scores(maps: list[Array], mask: Array) -> PhotoScores:
    height, width = mask.shape
    return score_photo(np.stack(maps), resize_mask(mask, comparison_size((height, width))))
