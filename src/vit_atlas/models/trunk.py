"""A model in two parts: the frozen trunk, whose activations are computed once, and the tail that is trained.

Both parts are shallow copies of the model with some submodules exchanged, so that the model's own code of norm, pooling
and head runs in them, for every family alike, and their weights are the model's.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vit_atlas.errors import AtlasError


@dataclass(frozen=True)
class Parts:
    """A model cut before one of its blocks."""

    trunk: Any
    """Base model without head: pixels (photos, 3, height, width) -> ``last_hidden_state`` (photos, tokens, dim), not
    normalised: what enters the first block of the tail."""
    tail: Any
    """Classifier that takes the trunk's output in the place of ``pixel_values``."""


def blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """Where a model keeps its transformer blocks: the dotted name below ``model.base_model``, and the list.

    Raises:
        AtlasError: no list of ``config.num_hidden_layers`` modules is there.
    """
    wanted = getattr(model.config, "num_hidden_layers", None)
    for name, module in model.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return name, module
    raise AtlasError(f"a {model.config.model_type} model has no single list of {wanted} transformer blocks")


def head_of(model: nn.Module) -> nn.Linear:
    """Find the classification head: the last linear layer with one output a class.

    Raises:
        AtlasError: the model has no such layer.
    """
    classes = int(getattr(model.config, "num_labels", 0))
    layers = [item for item in model.modules() if isinstance(item, nn.Linear) and item.out_features == classes]
    if not layers:
        name = type(model).__name__
        raise AtlasError(f"`model.name`: {name} has no linear head to probe: set `finetune.linear_probe` to false")
    return layers[-1]


def shared_blocks(first: Any, second: Any) -> int:
    """Count the leading blocks with the same weights in both models; 0 where the embeddings already differ."""
    if first.config.model_type != second.config.model_type:
        return 0
    if not _equal(first.base_model.embeddings, second.base_model.embeddings):
        return 0
    pairs = list(zip(blocks(first)[1], blocks(second)[1], strict=False))
    return next((count for count, pair in enumerate(pairs) if not _equal(*pair)), len(pairs))


def split(model: Any, trainable_blocks: int) -> Parts:
    """Cut a classifier before its last ``trainable_blocks`` blocks.

    Raises:
        AtlasError: the model has fewer blocks.
    """
    name, layers = blocks(model)
    if trainable_blocks > len(layers):
        raise AtlasError(
            f"finetune.trainable_blocks is {trainable_blocks}, but the model has {len(layers)} blocks: "
            f"use a number up to {len(layers)}, or `all` to train its embeddings too"
        )
    cut = len(layers) - trainable_blocks
    trunk = _exchanged(model.base_model, name, layers[:cut])
    trunk = _exchanged(trunk, "layernorm", nn.Identity())
    prefix = model.base_model_prefix
    dtype = next(model.parameters()).dtype
    tail = _exchanged(model, f"{prefix}.{name}", layers[cut:])
    tail = _exchanged(tail, f"{prefix}.embeddings", _Activations(dtype))
    return Parts(trunk, tail)


class _Activations(nn.Module):
    """Stands in for the embeddings: takes hidden states, of any precision, as they are."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        # ViT's forward asks the patch projection for the precision it should turn its input to.
        self.patch_embeddings = nn.Module()
        self.patch_embeddings.projection = nn.Module()
        self.patch_embeddings.projection.register_buffer("weight", torch.empty(0, dtype=dtype), persistent=False)

    def forward(self, hidden: Tensor, **options: Any) -> Tensor:
        del options
        weight: Any = self.patch_embeddings.projection
        return hidden.to(weight.weight.dtype)


def _exchanged(module: Any, path: str, new: nn.Module) -> Any:
    """A copy of ``module`` with ``new`` at the dotted ``path``; everything else is shared with the original."""
    first, _, rest = path.partition(".")
    clone = copy.copy(module)
    clone._modules = dict(module._modules)
    clone._modules[first] = _exchanged(module._modules[first], rest, new) if rest else new
    return clone


def _equal(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
