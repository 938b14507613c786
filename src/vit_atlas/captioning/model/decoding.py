"""Greedy and beam search over any captioning decoder, with the attention of every step kept.

The photo is encoded before the search starts; a step feeds one word and costs one word's work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vit_atlas.captioning.model.network import CaptionNetwork, DecoderState, Memory


class Decoder(Protocol):
    """A decoder in the middle of a batch of captions; holds the keys and values of all words fed so far."""

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Feed one token a row.

        Args:
            tokens: (rows,) ids.

        Returns:
            (rows, vocabulary) logits of the next token, and (layers, rows, heads, keys): its cross-attention
            weights.
        """
        ...

    def reorder(self, rows: Tensor) -> None:
        """Keep the rows named, in that order; one may come several times, and never beside another photo's."""
        ...


@dataclass(frozen=True)
class Rules:
    """How captions are searched for."""

    start: int
    """Token that every caption starts from."""
    end: int | None
    """Token that ends a caption; None: captions run to ``max_length``."""
    never: tuple[int, ...] = ()
    """Tokens that are never written: padding, start, unknown."""
    max_length: int = 30
    """Most tokens written, the end token not counted."""
    beams: int = 1
    """Captions followed at the same time; 1 is greedy."""
    length_penalty: float = 1.0
    """Captions compete by their log-probability divided by length to this power."""


@dataclass(frozen=True)
class Decoded:
    """One caption as tokens."""

    tokens: list[int]
    """Without start and end."""
    log_probabilities: list[float]
    """Of each token, given those before it."""
    maps: Tensor
    """(tokens, layers, heads, keys): where the decoder looked to predict each token."""
    ended: bool
    """False: cut at the longest length allowed."""
    score: float
    """Log-probability of the whole caption, its end included, divided by length to the penalty's power."""


class NetworkDecoder:
    """Steps through :class:`CaptionNetwork`."""

    def __init__(self, network: CaptionNetwork, memory: Memory):
        self._network = network
        self._state: DecoderState = network.start(memory)

    def step(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Decoder`."""
        hidden, maps = self._network.decode(tokens[:, None], self._state, record=True)
        assert maps is not None
        return self._network.mlp(hidden[:, -1]), maps[:, :, :, -1]

    def reorder(self, rows: Tensor) -> None:
        """See :class:`Decoder`."""
        self._state.reorder(rows)


def fast_steps(network: CaptionNetwork) -> None:
    """Lay the weights out in memory so that a step of few rows runs at full speed; values and shapes stay.

    A product of one row with a matrix is bound by reading the matrix, and the CPU library reads it with all threads
    only when a column lies together in memory.
    """
    for part in (network.transformer.decoder, network.mlp):
        for parameter in part.parameters():
            if parameter.dim() == 2:
                parameter.data = parameter.data.t().contiguous().t()


@torch.inference_mode()
def search(decoder: Decoder, photos: int, rules: Rules, device: torch.device | str = "cpu") -> list[Decoded]:
    """Write a caption for each of the ``photos`` rows that ``decoder`` holds, on the device where it computes.

    A photo's search ends when ``rules.beams`` captions of it have ended, or at the longest length; captions that
    ended win over captions that were cut.
    """
    beams = _Beams(photos, rules, torch.device(device))
    while not beams.finished():
        scores, maps = decoder.step(beams.last_tokens())
        decoder.reorder(beams.advance(scores.float().log_softmax(-1), maps))
    return list(beams.results())


class _Beams:
    """The captions that a search follows: after the first step, ``beams`` rows for each photo, side by side."""

    def __init__(self, photos: int, rules: Rules, device: torch.device):
        self._rules = rules
        self._photos = photos
        self._width = 1
        self._tokens = torch.full((photos, 1), rules.start, device=device)
        self._steps = torch.zeros(photos, 0, device=device)
        """(rows, length): the log-probability of each token."""
        self._sources = torch.zeros(photos, 0, dtype=torch.long, device=device)
        """(rows, length): the row of ``_maps[i]`` that belongs to token i."""
        self._maps: list[Tensor] = []
        self._ended: list[list[Decoded]] = [[] for _ in range(photos)]

    def last_tokens(self) -> Tensor:
        return self._tokens[:, -1]

    def finished(self) -> bool:
        if all(len(found) >= self._rules.beams for found in self._ended):
            return True
        return len(self._maps) > self._rules.max_length or (
            self._rules.end is None and len(self._maps) == self._rules.max_length
        )

    def advance(self, log_probabilities: Tensor, maps: Tensor) -> Tensor:
        """Take the next token of every row; returns the rows that live on."""
        self._maps.append(maps)
        if self._rules.never:
            log_probabilities[:, list(self._rules.never)] = -torch.inf
        total = self._steps.sum(1, keepdim=True) + log_probabilities
        vocabulary = total.shape[1]
        best = total.view(self._photos, -1).topk(min(2 * self._rules.beams, self._width * vocabulary)).indices
        rows = best // vocabulary + torch.arange(self._photos, device=best.device)[:, None] * self._width
        tokens = best % vocabulary
        chosen = [self._choose(photo, rows[photo], tokens[photo], log_probabilities) for photo in range(self._photos)]
        kept_rows = torch.cat([rows[photo, picks] for photo, picks in enumerate(chosen)])
        kept_tokens = torch.cat([tokens[photo, picks] for photo, picks in enumerate(chosen)])
        steps = log_probabilities[kept_rows, kept_tokens]
        self._tokens = torch.cat([self._tokens[kept_rows], kept_tokens[:, None]], dim=1)
        self._steps = torch.cat([self._steps[kept_rows], steps[:, None]], dim=1)
        self._sources = torch.cat([self._sources[kept_rows], kept_rows[:, None]], dim=1)
        self._width = self._rules.beams
        return kept_rows

    def results(self) -> Iterator[Decoded]:
        for photo, found in enumerate(self._ended):
            if not found:
                rows = range(photo * self._width, (photo + 1) * self._width)
                found = [self._caption(row, self._rules.max_length, None) for row in rows]
            yield max(found, key=lambda caption: caption.score)

    def _choose(self, photo: int, rows: Tensor, tokens: Tensor, log_probabilities: Tensor) -> Tensor:
        """The candidates, best first, that live on; those that end are kept aside when they are among the best."""
        ends = tokens == self._rules.end if self._rules.end is not None else torch.zeros_like(tokens, dtype=torch.bool)
        for rank in ends.nonzero().flatten().tolist():
            if rank < self._rules.beams and len(self._ended[photo]) < self._rules.beams:
                last = float(log_probabilities[rows[rank], tokens[rank]])
                self._ended[photo].append(self._caption(int(rows[rank]), len(self._maps) - 1, last))
        living = (~ends).nonzero().flatten()[: self._rules.beams]
        missing = self._rules.beams - len(living)
        return torch.cat([living, living[-1:].expand(missing)]) if missing else living

    def _caption(self, row: int, length: int, end: float | None) -> Decoded:
        steps = self._steps[row, :length].tolist()
        total = sum(steps) + (end or 0.0)
        counted = max(length + (end is not None), 1)
        sources = self._sources[row, :length].tolist()
        maps = [self._maps[index][:, source] for index, source in enumerate(sources)]
        return Decoded(
            tokens=self._tokens[row, 1 : length + 1].tolist(),
            log_probabilities=steps,
            maps=torch.stack(maps) if maps else self._maps[0][:, :0].transpose(0, 1),
            ended=end is not None,
            score=total / counted**self._rules.length_penalty,
        )
