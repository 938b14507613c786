"""The rules of AttnLRP, as changes of what runs backwards, so that gradient x input is the relevance.

References:
    Achtibat et al. 2024, AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers,
    https://arxiv.org/abs/2402.05602
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ACTIVATIONS = ("gelu", "silu", "relu", "tanh", "sigmoid", "hardswish", "mish")
PRODUCTS = ("matmul", "__matmul__", "bmm", "mul", "__mul__", "multiply")


class RelevanceRules(TorchFunctionMode):
    """While it is active, a model's forward pass gives its usual answer and a graph with the rules of the paper.

    Norms: the deviation is a constant (identity rule). Activations: the slope is output / input (identity rule).
    Products of two activations, and so attention: each side gets half (uniform rule); softmax keeps its derivative,
    which is the paper's Taylor rule. Linear layers follow the epsilon rule, with an epsilon of 0.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        options = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            query, key, value = (_scaled(tensor, share) for tensor, share in zip(args, (0.25, 0.25, 0.5), strict=False))
            return func(query, key, value, *args[3:], **options)
        if name == "layer_norm":
            return _norm(True, *args, **options)
        if name == "rms_norm":
            return _norm(False, *args, **options)
        output = func(*args, **options)
        if name in ACTIVATIONS:
            return args[0] * (output / (args[0] + 1e-10)).detach()
        if name in PRODUCTS and all(_is_activation(one) for one in args[:2]):
            return _scaled(output, 0.5)
        return output


class _Scaled(torch.autograd.Function):
    """The same value, with ``share`` of its gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, share: float) -> Tensor:
        ctx.share = share
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.share, None


def _scaled(tensor: Tensor, share: float) -> Tensor:
    scaled: Tensor = _Scaled.apply(tensor, share)
    return scaled


def _is_activation(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad and not isinstance(value, nn.Parameter)


def _norm(
    centred: bool,
    states: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Layer norm, or RMS norm where not ``centred``, with the deviation as a constant."""
    axes = tuple(range(-len(shape), 0))
    if centred:
        states = states - states.mean(dim=axes, keepdim=True)
    smallest = torch.finfo(states.dtype).eps if eps is None else eps
    states = states * (states.square().mean(dim=axes, keepdim=True) + smallest).rsqrt().detach()
    states = states if weight is None else states * weight
    return states if bias is None else states + bias
