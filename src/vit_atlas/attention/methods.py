"""Ways to draw where a Vision Transformer looks: small functions from a :class:`Look` to maps (B, rows, columns).

A map's values are not negative and its scale means nothing; methods that explain a class explain ``look.targets``.
"""

import torch
from torch import Tensor

from vit_atlas.attention.passes import Look
from vit_atlas.attention.recorder import LayerRecord
from vit_atlas.errors import AtlasError


def head_mean(look: Look, layer: int = -1) -> Tensor:
    """Attention of the class token in one layer, mean over its heads.

    References:
        Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, https://arxiv.org/abs/2104.14294
    """
    return look.class_rows(layer).mean(dim=1)


def head_max(look: Look, layer: int = -1) -> Tensor:
    """Attention of the class token in one layer, largest over its heads.

    References:
        Gildenblat 2020, Exploring Explainability for Vision Transformers (head fusion),
        https://jacobgil.github.io/deeplearning/vision-transformer-explainability
    """
    return look.class_rows(layer).amax(dim=1)


def single_head(look: Look, head: int, layer: int = -1) -> Tensor:
    """Attention of the class token in one head of one layer.

    Raises:
        AtlasError: there is no such head.

    References:
        Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers, https://arxiv.org/abs/2104.14294
    """
    rows = look.class_rows(layer)
    if not 0 <= head < rows.shape[1]:
        raise AtlasError(f"head {head} does not exist: the layer has {rows.shape[1]} heads, 0 to {rows.shape[1] - 1}")
    return rows[:, head]


def rollout(look: Look, discard: float = 0.0) -> Tensor:
    """Attention rollout: the class token's row of the product of all layers' head means, each mixed with the identity.

    The row is carried from the last layer to the first, so a layer costs O(N^2) and the N x N product never exists.

    Args:
        look: the pass.
        discard: share of each layer's weights, the smallest ones, that is set to zero first (Gildenblat's variant).

    References:
        Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers, https://arxiv.org/abs/2005.00928
        Gildenblat 2020, Exploring Explainability for Vision Transformers (discard ratio),
        https://jacobgil.github.io/deeplearning/vision-transformer-explainability
    """
    row = _class_row(look)
    for record in reversed(look.records):
        if discard:
            mixed = _discarded(record.head_mean(), discard)
            mixed.diagonal(dim1=1, dim2=2).add_(1.0)
            mixed /= mixed.sum(dim=-1, keepdim=True)
            row = torch.einsum("bq,bqk->bk", row, mixed)
        else:
            row = (row + _through_head_mean(record, row)) / 2
    return look.on_grid(row)


def relevance(look: Look) -> Tensor:
    """Gradient x attention relevance: layer by layer, add what flows through the positive part of gradient x attention.

    The class token's row of the product of (1 + mean over heads of (gradient x attention)^+), carried from the last
    layer to the first, chunk by chunk of each layer.

    References:
        Chefer, Gur and Wolf 2021, Generic Attention-model Explainability for Interpreting Bi-Modal and
        Encoder-Decoder Transformers, https://arxiv.org/abs/2103.15679
    """
    row = _class_row(look)
    for record in reversed(look.records):
        flow = torch.zeros_like(row)
        for part, attention in record.chunks():
            weights = (record.gradient(part) * attention).clamp_(min=0).mean(dim=1)
            flow += torch.einsum("bq,bqk->bk", row[:, part], weights)
        row = row + flow
    return look.on_grid(row)


def legrad(look: Look, layers: int | None = None) -> Tensor:
    """LeGrad: for every layer, how much the class's logit read from that layer reacts to its attention, added up.

    The logit comes from the layer's own token states; its gradient with respect to the layer's attention map is cut at
    zero and averaged over heads and queries; the layers are averaged.

    Args:
        look: the pass, with gradients and token states.
        layers: how many layers, counted from the last; None is all of them.

    Raises:
        AtlasError: the pass kept no gradients or no token states.

    References:
        Bousselham et al. 2024, LeGrad: An Explainability Method for Vision Transformers via Feature Formation
        Sensitivity, https://arxiv.org/abs/2404.03214
    """
    if len(look.hidden) != len(look.records) + 1:
        raise AtlasError("LeGrad needs the token states of every layer: call look(..., gradients=True, layers=True)")
    total = torch.zeros_like(_class_row(look))
    used = len(look.records) if layers is None else min(layers, len(look.records))
    for record, states in zip(look.records[-used:], look.hidden[-used:], strict=True):
        if record.output is None:
            raise AtlasError("LeGrad needs gradients: call look(..., gradients=True, layers=True)")
        target = look.head(states).gather(1, look.targets[:, None]).sum()
        (upstream,) = torch.autograd.grad(target, record.output, retain_graph=True)
        for part in record.parts():
            total += record.map_gradient(upstream, part).clamp_(min=0).sum(dim=(1, 2))
    heads, tokens = look.records[0].query.shape[1:3]
    return look.on_grid(total / (heads * tokens * used))


def _class_row(look: Look) -> Tensor:
    row = look.pixels.new_zeros((look.pixels.shape[0], look.layout.tokens), dtype=torch.float32)
    row[:, 0] = 1.0
    return row


def _through_head_mean(record: LayerRecord, row: Tensor) -> Tensor:
    """``row`` (B, N) times the mean over heads of the layer's map, without that map."""
    flow = torch.zeros_like(row)
    for part, attention in record.chunks():
        flow += torch.einsum("bq,bhqk->bk", row[:, part], attention) / attention.shape[1]
    return flow


def _discarded(attention: Tensor, share: float) -> Tensor:
    """Set the smallest ``share`` of each map (B, N, N) to zero, but never the class token's attention to itself."""
    flat = attention.flatten(1)
    kept = flat.topk(flat.shape[1] - int(flat.shape[1] * share), dim=1)
    remaining = torch.zeros_like(flat).scatter_(1, kept.indices, kept.values)
    remaining[:, 0] = flat[:, 0]
    return remaining.view_as(attention)
