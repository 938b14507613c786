"""Tiny random pretrained models, saved as folders the way the hub serves them."""

from collections.abc import Callable
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

COMMON = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "patch_size": 8,
    "id2label": {0: "x", 1: "y"},
}
CONFIGS: dict[str, Callable[..., Any]] = {
    "vit": lambda **extra: ViTConfig(**COMMON | {"intermediate_size": 32, "image_size": 32} | extra),
    "deit": lambda **extra: DeiTConfig(**COMMON | {"intermediate_size": 32, "image_size": 32} | extra),
    "dinov2": lambda **extra: Dinov2Config(**COMMON | {"mlp_ratio": 2, "image_size": 48} | extra),
    "dinov2_with_registers": lambda **extra: Dinov2WithRegistersConfig(
        **COMMON | {"mlp_ratio": 2, "image_size": 48, "num_register_tokens": 3} | extra
    ),
}
FAMILIES = list(CONFIGS)


def tiny_model(family: str, **extra: Any) -> Any:
    """A random model of the family with its one-headed classifier."""
    config = CONFIGS[family](**extra)
    config.architectures = []
    return AutoModelForImageClassification.from_config(config)


def save_pretrained(family: str, folder: Path, **extra: Any) -> Path:
    """A random model of the family in ``folder``, its tokens and position embeddings far from zero."""
    torch.manual_seed(1)
    model = (
        DeiTForImageClassificationWithTeacher(CONFIGS["deit"](**extra))
        if family == "deit"
        else tiny_model(family, **extra)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2)
    model.save_pretrained(folder)
    ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.25], resample=3).save_pretrained(folder)
    return folder
