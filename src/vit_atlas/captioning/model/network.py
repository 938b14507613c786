"""The captioning transformer: CATR's, with keys and values kept between words and the cross-attention given out.

References:
    Saahil Uppal, "CATR: image captioning with transformers" (2020), https://github.com/saahiluppal/catr: the network.
    Carion et al., "End-to-end object detection with transformers" (2020): the encoder, decoder and sine positions.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkShape:
    """The sizes of a captioning network; the defaults are those of CATR v3."""

    vocabulary: int = 30522
    """Words (or pieces of words) that it knows."""
    feature_channels: int = 2048
    """Channels of the backbone's feature map."""
    width: int = 256
    """Channels of the transformer."""
    heads: int = 8
    """Attention heads of every layer."""
    encoder_layers: int = 6
    """Layers that look at the photo."""
    decoder_layers: int = 6
    """Layers that write the caption."""
    feed_forward: int = 2048
    """Hidden channels of each layer's feed-forward part."""
    positions: int = 128
    """Most words in a caption, start and end included."""
    dropout: float = 0.1
    """Dropout while training."""
    output_width: int = 512
    """Hidden channels of the three-layer network that scores the words."""


@dataclass
class Memory:
    """What the encoder made of a batch of photos."""

    values: Tensor
    """(batch, keys, width): one vector for each place of the feature map, row by row."""
    position: Tensor
    """(batch, keys, width): the sine encoding of each place."""
    padding: Tensor
    """(batch, keys): True where a place is padding, not photo."""
    grid: tuple[int, int]
    """Rows and columns of the feature map."""


@dataclass
class DecoderState:
    """Keys and values of the photos and of all words so far: a pair of (batch, heads, places, channels) a layer.

    The batch of words may be a multiple of the batch of photos: each photo's captions then lie side by side.
    """

    memory_pairs: list[tuple[Tensor, Tensor]]
    own_pairs: list[tuple[Tensor, Tensor]]
    memory_mask: Tensor | None
    """(batch, 1, 1, keys): 0 where the decoder may look, minus infinity where the photo is padding; None: nowhere."""
    length: int = 0
    """Words decoded so far."""

    def reorder(self, rows: Tensor) -> None:
        """Keep the batch rows named by ``rows`` (a beam search's survivors), in that order; a row may come twice."""
        self.own_pairs = [(keys[rows], values[rows]) for keys, values in self.own_pairs]


def sine_position(padding: Tensor, channels: int) -> Tensor:
    """Encode rows and columns of a feature map as sines, counting only places that are not padding.

    Args:
        padding: (batch, rows, columns), True where padded.
        channels: channels of the result; the first half tells the row, the second half the column.

    Returns:
        (batch, channels, rows, columns), float32.
    """
    half = channels // 2
    divisor = 10000 ** (2 * (torch.arange(half, device=padding.device) // 2) / half)
    encoded = []
    for axis in (1, 2):
        count = (~padding).cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, count.shape[axis] - 1, 1)
        angle = (count / (last + 1e-6) * 2 * math.pi).unsqueeze(-1) / divisor
        encoded.append(torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2))
    return torch.cat(encoded, dim=-1).permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Multi-head attention over keys and values made earlier; parameters are named as nn.MultiheadAttention's."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def keys_values(self, key_input: Tensor, value_input: Tensor) -> tuple[Tensor, Tensor]:
        """Project (batch, places, width) inputs to keys and values of (batch, heads, places, channels)."""
        return self._project(key_input, 1), self._project(value_input, 2)

    def forward(
        self, query_input: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, record: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from (batch, queries, width); with ``record`` also give the weights (batch, heads, queries, keys)."""
        queries = self._project(query_input, 0)
        weights = None
        if record:
            scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
            weights = (scores if mask is None else scores + mask).softmax(-1)
            mixed = weights @ values
        else:
            dropout = self.dropout if self.training else 0.0
            mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), weights

    def _project(self, inputs: Tensor, part: int) -> Tensor:
        width = inputs.shape[-1]
        rows = slice(part * width, (part + 1) * width)
        projected = F.linear(inputs, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Self-attention over the places of the photo, then the feed-forward part; norms come first."""

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads, shape.dropout)
        self.linear1 = nn.Linear(shape.width, shape.feed_forward)
        self.linear2 = nn.Linear(shape.feed_forward, shape.width)
        self.norm1 = nn.LayerNorm(shape.width)
        self.norm2 = nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, places: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        """Map (batch, places, width) to the same shape."""
        normed = self.norm1(places)
        located = normed + position
        keys, values = self.self_attn.keys_values(located, normed)
        places = places + self.dropout(self.self_attn(located, keys, values, mask, record=False)[0])
        hidden = self.dropout(F.relu(self.linear1(self.norm2(places))))
        return places + self.dropout(self.linear2(hidden))


class DecoderLayer(nn.Module):
    """Attention to the words so far and to the photo, then the feed-forward part; norms come first."""

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.self_attn = Attention(shape.width, shape.heads, shape.dropout)
        self.multihead_attn = Attention(shape.width, shape.heads, shape.dropout)
        self.linear1 = nn.Linear(shape.width, shape.feed_forward)
        self.linear2 = nn.Linear(shape.feed_forward, shape.width)
        self.norm1 = nn.LayerNorm(shape.width)
        self.norm2 = nn.LayerNorm(shape.width)
        self.norm3 = nn.LayerNorm(shape.width)
        self.dropout = nn.Dropout(shape.dropout)

    def attend_words(
        self, words: Tensor, position: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Let (batch, new, width) words look at the words before them; returns them and all keys and values so far."""
        normed = self.norm1(words)
        located = normed + position
        keys, values = self.self_attn.keys_values(located, normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        return words + self.dropout(self.self_attn(located, keys, values, mask, record=False)[0]), (keys, values)

    def attend_photo(
        self, words: Tensor, position: Tensor, pair: tuple[Tensor, Tensor], mask: Tensor | None, record: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Let the words look at the photo and think; returns them and, with ``record``, where each head looked.

        Captions of one photo lie side by side and share its keys and values: they look as one long row of queries.
        """
        queries = (self.norm2(words) + position).reshape(len(pair[0]), -1, words.shape[-1])
        attended, weights = self.multihead_attn(queries, *pair, mask, record)
        attended = attended.reshape(words.shape)
        if weights is not None:
            weights = weights.unflatten(2, (-1, words.shape[1])).transpose(1, 2).flatten(0, 1)
        words = words + self.dropout(attended)
        hidden = self.dropout(F.relu(self.linear1(self.norm3(words))))
        return words + self.dropout(self.linear2(hidden)), weights


class Stack(nn.Module):
    """Layers and the norm after them, named as in the published checkpoints."""

    def __init__(self, layers: list[nn.Module], width: int):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)


class Embeddings(nn.Module):
    """Words and their positions as vectors."""

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.vocabulary, shape.width, padding_idx=0)
        self.position_embeddings = nn.Embedding(shape.positions, shape.width)
        self.LayerNorm = nn.LayerNorm(shape.width, eps=1e-12)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, tokens: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Embed (batch, new) tokens that start at place ``first``: (batch, new, width), and (new, width) positions."""
        position = self.position_embeddings.weight[first : first + tokens.shape[1]]
        return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + position)), position


class Transformer(nn.Module):
    """Encoder and decoder."""

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.encoder = Stack([EncoderLayer(shape) for _ in range(shape.encoder_layers)], shape.width)
        self.embeddings = Embeddings(shape)
        self.decoder = Stack([DecoderLayer(shape) for _ in range(shape.decoder_layers)], shape.width)


class WordScores(nn.Module):
    """Three linear layers from the decoder's output to a score for every word."""

    def __init__(self, shape: NetworkShape):
        super().__init__()
        widths = [shape.width, shape.output_width, shape.output_width, shape.vocabulary]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (..., width) to (..., vocabulary)."""
        for layer in self.layers[:-1]:
            hidden = F.relu(layer(hidden))
        return self.layers[-1](hidden)


class CaptionNetwork(nn.Module):
    """Feature map in, scores of the next word out.

    Padding of photos and of captions is marked True in the masks, as in the original.
    """

    def __init__(self, shape: NetworkShape):
        super().__init__()
        self.shape = shape
        self.input_proj = nn.Conv2d(shape.feature_channels, shape.width, kernel_size=1)
        self.transformer = Transformer(shape)
        self.mlp = WordScores(shape)
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def encode(self, features: Tensor, padding: Tensor | None = None) -> Memory:
        """Run the encoder over (batch, channels, rows, columns) features; ``padding`` is (batch, rows, columns)."""
        rows, columns = features.shape[-2:]
        if padding is None:
            padding = torch.zeros(len(features), rows, columns, dtype=torch.bool, device=features.device)
        position = sine_position(padding, self.shape.width).flatten(2).transpose(1, 2).to(features.dtype)
        places = self.input_proj(features).flatten(2).transpose(1, 2)
        flat = padding.flatten(1)
        mask = _additive(flat, places.dtype)
        for layer in self.transformer.encoder.layers:
            places = layer(places, position, mask)
        return Memory(self.transformer.encoder.norm(places), position, flat, (rows, columns))

    def start(self, memory: Memory) -> DecoderState:
        """Project the encoder's output to every decoder layer's keys and values, once for the whole caption."""
        located = memory.values + memory.position
        pairs = [layer.multihead_attn.keys_values(located, memory.values) for layer in self._decoder_layers()]
        return DecoderState(pairs, [], _additive(memory.padding, memory.values.dtype))

    def decode(
        self, tokens: Tensor, state: DecoderState, token_padding: Tensor | None = None, record: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Feed (batch, new) tokens that follow those fed before, and add them to ``state``.

        Args:
            tokens: (batch, new) ids; more than one only at the start of a caption. The batch is the photos', or a
                multiple of it: several captions a photo, side by side.
            state: from :meth:`start`; changed in place.
            token_padding: (batch, new), True where a token is padding (at the start of a caption only).
            record: also return the cross-attention.

        Returns:
            (batch, new, width) hidden vectors for :attr:`mlp`, and with ``record`` the cross-attention,
            (layers, batch, heads, new, keys): row i is where the network looked to predict token i + 1.
        """
        words, position = self.transformer.embeddings(tokens, state.length)
        mask = _causal(tokens.shape[1], token_padding, words)
        first = state.length == 0
        maps = []
        for index, layer in enumerate(self._decoder_layers()):
            words, pair = layer.attend_words(words, position, None if first else state.own_pairs[index], mask)
            if first:
                state.own_pairs.append(pair)
            else:
                state.own_pairs[index] = pair
            words, weights = layer.attend_photo(words, position, state.memory_pairs[index], state.memory_mask, record)
            maps.append(weights)
        state.length += tokens.shape[1]
        return self.transformer.decoder.norm(words), torch.stack([m for m in maps if m is not None]) if record else None

    def forward(
        self,
        features: Tensor,
        padding: Tensor | None,
        tokens: Tensor,
        token_padding: Tensor | None = None,
        record: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Score whole captions at once: logits (batch, length, vocabulary), maps as :meth:`decode` gives them."""
        state = self.start(self.encode(features, padding))
        hidden, maps = self.decode(tokens, state, token_padding, record)
        return self.mlp(hidden), maps

    def _decoder_layers(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.transformer.decoder.layers))


def _additive(padding: Tensor, dtype: torch.dtype) -> Tensor | None:
    """(batch, keys) padding as (batch, 1, 1, keys) of 0 and minus infinity; None when nothing is padded."""
    if not padding.any():
        return None
    return torch.zeros(padding.shape, dtype=dtype, device=padding.device).masked_fill_(padding, -torch.inf)[
        :, None, None
    ]


def _causal(length: int, padding: Tensor | None, like: Tensor) -> Tensor | None:
    """The mask of ``length`` new words: none for a single word, which may look at every word before it."""
    if length == 1:
        return None
    mask = torch.full((length, length), -torch.inf, dtype=like.dtype, device=like.device).triu(1)
    if padding is None:
        return mask
    hidden = _additive(padding, like.dtype)
    return mask if hidden is None else mask + hidden
