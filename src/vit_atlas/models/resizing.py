"""Another input size than the pretrained one: what a model knows of positions is resampled, and the model saved so."""

import copy
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from torch.nn import functional

from vit_atlas.errors import AtlasError
from vit_atlas.models.geometry import Size, grid_of, native_size, patch_of
from vit_atlas.models.trunk import kind_of

INTERPOLATES_ITSELF = ("dinov2", "dinov2_with_registers")
"""Model types that fit their position embeddings to any input in forward; the others' are fitted once, when loading."""


def fit_to_size(model: Any, size: Size) -> Any:
    """``model``, or another one with its weights, whose own input size is ``size`` (height, width).

    Tables of positions are resampled: bicubic as in the ViT paper's fine-tuning at higher resolution, equal to
    ``interpolate_pos_encoding`` at run time, so that plain ``from_pretrained`` and ``pipeline`` need no flag; relative
    position biases bilinear, as BEiT's own code does.

    Raises:
        AtlasError: the model cannot be made for this size, for example for photos that are not square.

    References:
        Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, section 3.2, https://arxiv.org/abs/2010.11929
    """
    native = native_size(model)
    if native == size or model.config.model_type in INTERPOLATES_ITSELF:
        return model
    try:
        with torch.random.fork_rng():
            return _timm_of_size(model, size) if hasattr(model, "timm_model") else _of_size(model, native, size)
    except (TypeError, ValueError, AttributeError, AssertionError, RuntimeError, StrictDataclassError):
        raise AtlasError(
            f"model.image_size is {size[0]}x{size[1]} (height x width), and a {kind_of(model)} model cannot be made "
            f"for it: use {native[0]}, its own size, or another square one"
        ) from None


def _timm_of_size(model: Any, size: Size) -> Any:
    model.timm_model.set_input_size(img_size=size)
    model.config.model_args = {**(model.config.model_args or {}), "img_size": list(size)}
    return model


def _of_size(model: Any, native: Size, size: Size) -> Any:
    config = copy.deepcopy(model.config)
    own = getattr(config, "vision_config", config)
    own.image_size = size[0] if size[0] == size[1] else list(size)
    fitted = type(model)(config).to(next(model.parameters()))
    patch = patch_of(model)
    old_grid, new_grid = grid_of(native, patch), grid_of(size, patch)
    state = fitted.state_dict()
    for name, value in model.state_dict().items():
        if value.shape != state[name].shape:
            value = _resampled(value, state[name].shape, old_grid, new_grid)
        state[name].copy_(value)
    return fitted.train(model.training)


def _resampled(table: Tensor, shape: torch.Size, old: Size, new: Size) -> Tensor:
    """A table of positions (..., entries, channels) of the grid ``old`` made one of the grid ``new``."""
    flat = table.reshape(-1, table.shape[-1])
    mode = "bicubic"
    if (old[0] * 2 - 1) * (old[1] * 2 - 1) <= len(flat) < (old[0] * 2 - 1) * (old[1] * 2 - 1) + 4 and old != (1, 1):
        old, new, mode = (old[0] * 2 - 1, old[1] * 2 - 1), (new[0] * 2 - 1, new[1] * 2 - 1), "bilinear"
        grid, special = flat[: old[0] * old[1]], flat[old[0] * old[1] :]
    else:
        special, grid = flat[: len(flat) - old[0] * old[1]], flat[len(flat) - old[0] * old[1] :]
    image = grid.T.reshape(1, -1, *old)
    patches = functional.interpolate(image, size=new, mode=mode, align_corners=False)[0].flatten(1).T
    parts = [special, patches] if mode == "bicubic" else [patches, special]
    return torch.cat(parts).reshape(shape)
