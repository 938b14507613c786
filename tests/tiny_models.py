"""Tiny random Vision Transformers for every test: families, sizes, labels and weights are parameters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageClassification,
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    ViTConfig,
    ViTImageProcessor,
)

from vit_atlas.models.hub import quiet

SIZES = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 8}
VIT = SIZES | {"intermediate_size": 32, "image_size": 32}
DINO = SIZES | {"mlp_ratio": 2, "image_size": 48}

FAMILIES: dict[str, Callable[..., Any]] = {
    "vit": lambda **sizes: ViTConfig(**VIT | sizes),
    "deit": lambda **sizes: DeiTConfig(**VIT | sizes),
    "dinov2": lambda **sizes: Dinov2Config(**DINO | sizes),
    "dinov2_with_registers": lambda **sizes: Dinov2WithRegistersConfig(**DINO | {"num_register_tokens": 3} | sizes),
}
PREFIX_TOKENS = {"vit": 1, "deit": 2, "dinov2": 1, "dinov2_with_registers": 4}
"""Tokens before the patches."""


def tiny_config(family: str = "vit", labels: Sequence[str] = ("x", "y"), **sizes: Any) -> Any:
    """A configuration with one class a label; ``sizes`` are keys of the family's configuration."""
    names = dict(enumerate(labels))
    config = FAMILIES[family](id2label=names, label2id={name: label for label, name in names.items()}, **sizes)
    config.architectures = []
    return config


def tiny_model(
    family: str = "vit", labels: Sequence[str] = ("x", "y"), seed: int = 0, scale: float | None = None, **sizes: Any
) -> Any:
    """A classifier in eval mode.

    Args:
        family: a key of :data:`FAMILIES`.
        labels: the classes' names.
        seed: of the weights.
        scale: standard deviation of all parameters, tokens and position embeddings among them; None leaves them as the
            library initialises them.
        sizes: keys of the family's configuration.
    """
    torch.manual_seed(seed)
    config = tiny_config(family, labels, **sizes)
    return _scaled(AutoModelForImageClassification.from_config(config), scale).eval()


def save_tiny(
    folder: str | Path,
    family: str = "vit",
    labels: Sequence[str] = ("x", "y"),
    seed: int = 0,
    scale: float | None = None,
    **sizes: Any,
) -> Path:
    """A classifier as fine-tuning leaves it: its photos are stretched to the model's image size."""
    model = tiny_model(family, labels, seed, scale, **sizes)
    size = model.config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    with quiet():
        model.save_pretrained(folder)
    ViTImageProcessor(size={"height": height, "width": width}).save_pretrained(folder)
    return Path(folder)


def save_pretrained(family: str, folder: Path, **sizes: Any) -> Path:
    """A model as the hub serves it: with a mean and deviation of its own, DeiT with the head that distillation adds."""
    if family == "deit":
        torch.manual_seed(1)
        model = _scaled(DeiTForImageClassificationWithTeacher(tiny_config("deit", **sizes)), 0.2)
    else:
        model = tiny_model(family, seed=1, scale=0.2, **sizes)
    with quiet():
        model.save_pretrained(folder)
    ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25], resample=3).save_pretrained(folder)
    return folder


def _scaled(model: Any, scale: float | None) -> Any:
    if scale is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape) * scale)
    return model
