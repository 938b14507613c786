"""A model in two parts: the frozen trunk, computed once, and the tail that is trained."""

from typing import Any

from torch import nn

from vit_atlas.errors import AtlasError


def blocks(model: Any) -> tuple[nn.Module, str]:
    """Where a model keeps its transformer blocks: the owning module and the name of its ModuleList.

    Raises:
        AtlasError: no list of ``config.num_hidden_layers`` modules is there.
    """
    wanted = getattr(model.config, "num_hidden_layers", None)
    for owner in model.base_model.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == wanted:
                return owner, name
    raise AtlasError(f"a {model.config.model_type} model has no single list of {wanted} transformer blocks")
