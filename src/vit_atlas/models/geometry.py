"""How a Vision Transformer's tokens lie on the photo.

Grids come from the height and width of the input and of a patch, never from the square root of the token count, and
special tokens are counted from the configuration.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vit_atlas.errors import AtlasError

Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class TokenLayout:
    """The order of a model's tokens: ``prefix_tokens`` special ones, then the patches row by row."""

    grid: Size
    """Rows and columns of patches."""
    prefix_tokens: int
    """Tokens before the first patch: the class token (always first), then distillation or register tokens."""
    patch: Size
    """Height and width of a patch in pixels."""

    @property
    def patches(self) -> int:
        """Number of patch tokens."""
        return self.grid[0] * self.grid[1]

    @property
    def tokens(self) -> int:
        """Number of all tokens."""
        return self.prefix_tokens + self.patches

    @property
    def image_size(self) -> Size:
        """Height and width in pixels that the patches cover."""
        return self.grid[0] * self.patch[0], self.grid[1] * self.patch[1]


def as_size(value: int | list[int] | tuple[int, int]) -> Size:
    """Height and width from a configuration's ``image_size`` or ``patch_size``: one number or [height, width]."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return int(height), int(width)


def token_layout(config: Any, image_size: Size | None = None) -> TokenLayout:
    """Layout of the tokens of a model with this configuration.

    Args:
        config: the model's Hugging Face configuration.
        image_size: (height, width) of the input in pixels; None is the size of ``config``.

    Raises:
        AtlasError: the patch size does not divide the image size; the message names the nearest sizes that it divides.
    """
    patch = as_size(config.patch_size)
    height, width = image_size or as_size(config.image_size)
    if height % patch[0] or width % patch[1]:
        side, near = ("height", _near(height, patch[0])) if height % patch[0] else ("width", _near(width, patch[1]))
        raise AtlasError(
            f"model.image_size is {height}x{width} (height x width), which patches of {patch[0]}x{patch[1]} pixels do "
            f"not divide: use {near} for the {side}"
        )
    return TokenLayout((height // patch[0], width // patch[1]), _prefix_tokens(config), patch)


def position_embedding(model: Any) -> Tensor:
    """Learned position embeddings of the patch tokens on the model's own grid, shape (rows, cols, dim), detached.

    Args:
        model: a Hugging Face model, with or without a head.
    """
    layout = token_layout(model.config)
    parameter = model.base_model.embeddings.position_embeddings.detach()[0]
    # Register tokens have no position embedding, so what precedes the patches is counted from the end.
    return parameter[-layout.patches :].reshape(*layout.grid, -1)


def _prefix_tokens(config: Any) -> int:
    distillation = 1 if config.model_type == "deit" else 0
    return 1 + distillation + int(getattr(config, "num_register_tokens", 0))


def _near(length: int, patch: int) -> str:
    below = length // patch * patch
    return " or ".join(str(side) for side in (below, below + patch) if side > 0)
