"""The one interface to captioners of every kind: photos in; words, their probabilities and a map a word out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image

from vit_atlas.captioning import SMALLEST_SIDE
from vit_atlas.captioning.model.decoding import Decoded, NetworkDecoder, Rules, search
from vit_atlas.captioning.model.network import CaptionNetwork, Memory
from vit_atlas.captioning.model.threads import threads_for
from vit_atlas.captioning.model.words import Caption, PieceStyle, piece_style, to_words
from vit_atlas.errors import AtlasError


@dataclass(frozen=True)
class SearchOptions:
    """How captions are searched for; the same for all captioners."""

    max_length: int = 30
    """Most tokens in a caption."""
    beams: int = 1
    """Captions followed at the same time; 1 is greedy."""
    length_penalty: float = 1.0
    """Captions compete by their log-probability divided by length to this power."""


class Captioner(Protocol):
    """Writes captions and tells where it looked."""

    def caption(self, photos: Sequence[Image.Image], options: SearchOptions) -> list[Caption]:
        """Write one caption for each upright RGB photo.

        Raises:
            AtlasError: a photo is too small.
        """
        ...


@dataclass(frozen=True)
class Vocabulary:
    """What a captioner's search has to know of its tokenizer."""

    start: int
    end: int
    never: tuple[int, ...]
    """Tokens that are never written."""
    pieces: Callable[[list[int]], list[str]]
    """Names of tokens."""
    style: PieceStyle

    def rules(self, options: SearchOptions, longest: int) -> Rules:
        """The search's rules, for a decoder that holds ``longest`` tokens, start and end included."""
        length = min(options.max_length, longest - 1)
        return Rules(self.start, self.end, self.never, length, options.beams, options.length_penalty)

    def caption(self, decoded: Decoded, grid: tuple[int, int]) -> Caption:
        """Turn tokens into words; ``decoded``'s keys are the places of ``grid``, row by row."""
        maps = decoded.maps.unflatten(-1, grid)
        words = to_words(self.pieces(decoded.tokens), decoded.log_probabilities, maps, self.style)
        return Caption(words, decoded.ended, decoded.score)


def vocabulary_of(tokenizer: Any, start: int | None, end: int | None, source: str) -> Vocabulary:
    """The vocabulary of a Hugging Face tokenizer.

    Raises:
        AtlasError: it has no start or no end token.
    """
    if start is None or end is None:
        raise AtlasError(f"the tokenizer of {source} names no start or no end token, so no caption could begin or end")
    never = {tokenizer.pad_token_id, tokenizer.unk_token_id, start} - {None, end}
    return Vocabulary(start, end, tuple(sorted(never)), tokenizer.convert_ids_to_tokens, piece_style(tokenizer))


def require_visible(photos: Sequence[Image.Image]) -> None:
    """Refuse photos with nothing to see in them.

    Raises:
        AtlasError: a photo has a side shorter than :data:`vit_atlas.captioning.SMALLEST_SIDE`.
    """
    for photo in photos:
        if min(photo.size) < SMALLEST_SIDE:
            name = getattr(photo, "filename", "") or "a photo"
            raise AtlasError(
                f"{name} is {photo.width}x{photo.height} pixels: a captioner needs at least {SMALLEST_SIDE} a side"
            )


@torch.inference_mode()
def write_captions(
    network: CaptionNetwork, memory: Memory, vocabulary: Vocabulary, options: SearchOptions
) -> list[Caption]:
    """Search a caption for each photo in ``memory``."""
    rules = vocabulary.rules(options, network.shape.positions)
    with threads_for(network):
        found = search(NetworkDecoder(network, memory), len(memory.values), rules, memory.values.device)
    return [vocabulary.caption(decoded, memory.grid) for decoded in found]
