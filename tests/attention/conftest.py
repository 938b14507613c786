"""Tiny random models of every kind that the recorder serves."""

from collections.abc import Callable

import pytest
import torch
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 4,
    "num_labels": 5,
    "initializer_range": 0.2,
}
VIT = {**SMALL, "intermediate_size": 24}

KINDS: dict[str, Callable[..., PreTrainedModel]] = {
    "vit": lambda **options: ViTForImageClassification(ViTConfig(**VIT, **options)),
    "deit": lambda **options: DeiTForImageClassification(DeiTConfig(**VIT, **options)),
    "dinov2": lambda **options: Dinov2ForImageClassification(Dinov2Config(**SMALL, mlp_ratio=2, **options)),
    "registers": lambda **options: Dinov2WithRegistersForImageClassification(
        Dinov2WithRegistersConfig(**SMALL, mlp_ratio=2, num_register_tokens=2, **options)
    ),
}
PREFIX = {"vit": 1, "deit": 2, "dinov2": 1, "registers": 3}


def tiny_model(kind: str, image_size: int | tuple[int, int] = 16, seed: int = 0) -> PreTrainedModel:
    torch.manual_seed(seed)
    return KINDS[kind](image_size=image_size).eval()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(kind: str) -> PreTrainedModel:
    return tiny_model(kind)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def eager_attentions(model: PreTrainedModel, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Attention maps (B, H, N, N) of all layers, by transformers' own eager code."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model(pixels, output_attentions=True).attentions
    model.set_attn_implementation(before)
    return attentions
