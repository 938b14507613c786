"""What a classifier's head reads: which token states after the last block its answer is made of.

A map of the class token says nothing about a head that reads the mean of the patches. The read-out is found by asking
the model, not from a list of names: with one and the same state in every token, the gradient of the logits with respect
to a token differs from token to token by the weight alone that the head gives it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vit_atlas.attention.recorder import AttentionRecorder, record_attention
from vit_atlas.errors import AtlasError
from vit_atlas.models.geometry import Size, TokenLayout, grid_of, patch_of
from vit_atlas.models.trunk import PLAIN, blocks, head_of, kind_of, split, token_states

PROBES = 16
"""Random targets (mixtures of the logits) whose gradients are put together."""

EVEN = 1e-3
"""Weights that differ by less than this share of the largest are the same."""

_WRONG = (RuntimeError, ValueError, AssertionError, AttributeError, TypeError, IndexError)
"""What models raise when they are called with something that they are not made for."""


@dataclass(frozen=True)
class Readout:
    """How the head reads the tokens of the last block."""

    kind: str
    """``class token``, ``mean of patches``, ``mean of all tokens``, ``class token and mean of patches``,
    ``attention pooling``, or ``weighted tokens``."""
    weights: Tensor
    """(tokens,) float32 on the CPU, not negative, with sum 1; of attention pooling, where every photo has weights of
    its own, they are even and stand for nothing."""
    pools: bool
    """Whether the weights are attention: the head asks the tokens with a query of its own."""
    special: int = 0
    """Tokens before the patches, of which the first is the class token where there is one."""

    @property
    def token(self) -> int | None:
        """The one token that is read; None where several are."""
        return int(self.weights.argmax()) if float(self.weights.max()) > 1 - EVEN else None

    @property
    def ignores_class_token(self) -> bool:
        """Whether there is a class token, or another in its place, that the head does not read."""
        return self.special > 0 and float(self.weights[0]) <= float(self.weights.max()) * EVEN

    @property
    def sentence(self) -> str:
        """What figures, pages, JSON and cards say of it."""
        if self.kind == "class token and mean of patches":
            share = float(self.weights[0])
            return f"the head reads the class token ({share:.0%}) and the mean of the patches ({1 - share:.0%})"
        named = {
            "attention pooling": "the tokens by attention pooling",
            "weighted tokens": "a weighted mean of tokens",
            "mean of patches": "the mean of the patches",
        }
        found = f"the head reads {named.get(self.kind, f'the {self.kind}')}"
        return f"{found} and no class token" if self.ignores_class_token else found


def token_layout_of(model: Any, size: Size) -> TokenLayout:
    """How the tokens of a model lie on a photo of ``size`` (height, width), found by passing an empty photo through.

    Tokens before the patches are what the model makes beyond one token a patch.

    Raises:
        AtlasError: the patches do not divide the size, the model cannot take it, or its tokens are no patches.
    """
    patch = patch_of(model)
    layout = TokenLayout(grid_of(size, patch), 0, patch)
    try:
        _record(model, size)
    except _WRONG as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AtlasError(
            f"a {kind_of(model)} model cannot take photos of {size[0]}x{size[1]} pixels ({reason}): set "
            "model.image_size to a size that it can"
        ) from None
    try:
        tokens = token_states(model, size)
    except _WRONG:
        raise AtlasError(
            f"a {kind_of(model)} model works in stages, whose blocks do not hand on the same tokens: {PLAIN}"
        ) from None
    extra = tokens.shape[1] - layout.patches if tokens.ndim == 3 else -1
    if extra < 0:
        raise AtlasError(
            f"a {kind_of(model)} model has token states of the shape {tuple(tokens.shape)} for {layout.patches} "
            f"patches, so they do not lie on the photo (windowed and hybrid models): {PLAIN}"
        )
    return TokenLayout(layout.grid, extra, patch)


def find_readout(model: Any, layout: TokenLayout) -> Readout:
    """Find how the head of ``model`` reads the tokens.

    Where the head reads two things of the same tokens side by side (DINOv2: class token, and mean of patches), each has
    the share of the logits' gradient that goes through it.

    Args:
        model: a classifier in eval mode.
        layout: how its tokens lie.

    Raises:
        AtlasError: its attention cannot be recorded, is not one layer a block, or its head reads no token.
    """
    pools = _pools(model, layout)
    weights = _gradient_shares(model, layout)
    prefix = layout.prefix_tokens
    return Readout("attention pooling" if pools else _kind(weights, prefix), weights, pools, prefix)


def _pools(model: Any, layout: TokenLayout) -> bool:
    """Whether an attention layer with a query of its own comes after those of the blocks."""
    attention = _record(model, layout.image_size)
    extra = attention.layer_count - len(blocks(model)[1])
    queries, keys = attention.record(-1).query.shape[2], attention.record(-1).key.shape[2]
    if extra == 1 and queries == 1 and keys == layout.tokens:
        return True
    if extra or (queries, keys) != (layout.tokens, layout.tokens):
        raise AtlasError(
            f"a {kind_of(model)} model attends {attention.layer_count} times in {len(blocks(model)[1])} blocks, last "
            f"from {queries} to {keys} of {layout.tokens} tokens, so there is no map of each block over the whole "
            f"photo: {PLAIN}"
        )
    return False


def _record(model: Any, size: Size) -> AttentionRecorder:
    """The last layer's attention for an empty photo of ``size``.

    Raises:
        AtlasError: no attention arrives, or it arrives in windows.
    """
    pixels = next(model.parameters()).new_zeros((1, 3, *size))
    with torch.no_grad(), record_attention(model, layers=[-1], queries=None) as attention:
        model(pixels)
    return attention


def _gradient_shares(model: Any, layout: TokenLayout) -> Tensor:
    head = head_of(model)
    caught: list[Tensor] = []
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        width = token_states(model, layout.image_size).shape[-1]
        state = torch.randn(1, 1, width, generator=generator).to(next(model.parameters()))
        states = state.expand(1, layout.tokens, width).clone().requires_grad_()
        hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            logits = split(model, 0, layout.image_size).tail(states).logits
        finally:
            hook.remove()
        for target in (logits, caught[-1].flatten(1)):  # A head of zeros has no gradient: then what it is given.
            total = _squared_gradient(target, states, generator)
            if float(total.sum()) > 0:
                shares = total.sqrt()
                return (shares / shares.sum()).float().cpu()
    raise AtlasError(f"the logits of a {kind_of(model)} model do not depend on the tokens of its last block: {PLAIN}")


def _squared_gradient(target: Tensor, states: Tensor, generator: torch.Generator) -> Tensor:
    """Squared norm of the gradient (tokens,) over random mixtures of the target (1, width)."""
    total = torch.zeros(states.shape[1], dtype=torch.float64)
    for _ in range(PROBES):
        mixture = torch.randn(target.shape, generator=generator).to(target)
        (gradient,) = torch.autograd.grad((target * mixture).sum(), states, retain_graph=True)
        total += gradient[0].double().cpu().square().sum(dim=-1)
    return total


def _kind(weights: Tensor, prefix: int) -> str:
    """What weights over the tokens are called, of which the first ``prefix`` are special and the first is the class
    token."""
    small = float(weights.max()) * EVEN
    special, patches = weights[:prefix], weights[prefix:]
    even = float(patches.max() - patches.min()) <= small
    if float(patches.sum()) < EVEN:
        read = (special > small).nonzero().flatten().tolist()
        return "class token" if read == [0] else f"special tokens {', '.join(str(n + 1) for n in read)}"
    if not even:
        return "weighted tokens"
    if not prefix or float(special.max()) <= small:
        return "mean of patches"
    if float(weights.max() - weights.min()) <= small:
        return "mean of all tokens"
    if float(special[1:].sum()) <= small:
        return "class token and mean of patches"
    return "weighted tokens"
