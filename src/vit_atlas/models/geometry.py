"""How a Vision Transformer's tokens lie on the photo.

Grids come from the height and width of the input and of a patch, never from the square root of the token count; what
a model makes beyond one token a patch are its special tokens.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vit_atlas.errors import AtlasError

Size = tuple[int, int]
"""Height and width."""


MOST_SPECIAL = 16
"""Special tokens that a model may have beside its patches."""


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


def grid_of(image_size: Size, patch: Size) -> Size:
    """Rows and columns of patches on an input of ``image_size`` (height, width).

    Raises:
        AtlasError: the patch size does not divide the image size; the message names the nearest sizes that it divides.
    """
    height, width = image_size
    if height % patch[0] or width % patch[1]:
        side, near = ("height", _near(height, patch[0])) if height % patch[0] else ("width", _near(width, patch[1]))
        raise AtlasError(
            f"model.image_size is {height}x{width} (height x width), which patches of {patch[0]}x{patch[1]} pixels do "
            f"not divide: use {near} for the {side}"
        )
    return height // patch[0], width // patch[1]


def native_size(model: Any) -> Size:
    """Height and width in pixels of the photos that a model was made for."""
    timm_model = getattr(model, "timm_model", None)
    if timm_model is not None:
        size = getattr(getattr(timm_model, "patch_embed", None), "img_size", None)
        return as_size(size or tuple(timm_model.default_cfg["input_size"][-2:]))
    return as_size(getattr(model.config, "vision_config", model.config).image_size)


def patch_of(model: Any) -> Size:
    """Height and width of a patch in pixels: the step of the convolution that reads the photo.

    Raises:
        AtlasError: nothing reads the photo in patches that do not overlap (hybrid and convolutional models).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            if module.kernel_size != module.stride or module.stride == (1, 1):
                break
            return as_size(module.stride)  # type: ignore[arg-type]
    raise AtlasError(
        f"a {getattr(model.config, 'architecture', None) or model.config.model_type} model does not cut the photo into "
        "patches that one convolution reads, so its tokens have no place on the photo: choose a plain vision "
        "transformer, such as ViT, DeiT, DINOv2, DINOv3, BEiT, CLIP, SigLIP or EVA-02"
    )


def position_embedding(model: Any) -> Tensor:
    """Learned position embeddings of the patch tokens on the model's own grid, shape (rows, cols, dim), detached.

    Args:
        model: a Hugging Face model, with or without a head.
    """
    grid = grid_of(native_size(model), patch_of(model))
    patches = grid[0] * grid[1]
    for name, table in model.named_parameters():
        if "pos" in name and table.ndim > 1 and 0 <= table.numel() // table.shape[-1] - patches <= MOST_SPECIAL:
            # Register tokens have no position embedding, so what precedes the patches is counted from the end.
            return table.detach().reshape(-1, table.shape[-1])[-patches:].reshape(*grid, -1)
    kind = getattr(model.config, "architecture", None) or model.config.model_type
    raise AtlasError(
        f"a {kind} model has no table of position embeddings (it turns queries and keys by position, or adds a bias to "
        "attention), so there is nothing that embed-viz can compare"
    )


def _near(length: int, patch: int) -> str:
    below = length // patch * patch
    return " or ".join(str(side) for side in (below, below + patch) if side > 0)
