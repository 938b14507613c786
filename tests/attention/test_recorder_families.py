"""The recorder on models of other libraries: rows equal to those computed from the module's own inputs."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from vit_atlas.attention.recorder import record_attention
from vit_atlas.errors import AtlasError

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def timm_model(name: str, **options: object) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, img_size=32, num_classes=3, depth=2, **options).eval()


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=3
    ).eval()


def plain_encoder() -> nn.Module:
    """PyTorch's own encoder, whose fast path would never call the function."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    return nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Flatten(2), _Transposed(), encoder)


class _Transposed(nn.Module):
    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return states.transpose(1, 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "timm vit": (lambda: timm_model("vit_tiny_patch16_224", patch_size=8, embed_dim=48), 2, 17),
    "timm deit3": (lambda: timm_model("deit3_small_patch16_224", patch_size=8, embed_dim=48, num_heads=3), 2, 17),
    "timm dinov2 with registers": (
        lambda: timm_model("vit_small_patch14_reg4_dinov2", patch_size=8, embed_dim=48, num_heads=3),
        2,
        21,
    ),
    "timm dinov3 (rotary)": (
        lambda: timm_model("vit_small_patch16_dinov3", patch_size=8, embed_dim=48, num_heads=3),
        2,
        21,
    ),
    "timm eva02 (rotary)": (
        lambda: timm_model("eva02_tiny_patch14_224", patch_size=8, embed_dim=48, num_heads=3),
        2,
        17,
    ),
    "timm beit (relative bias)": (
        lambda: timm_model("beit_base_patch16_224", patch_size=8, embed_dim=48, num_heads=3),
        2,
        17,
    ),
    "timm siglip (attention pooling)": (
        lambda: timm_model("vit_base_patch16_siglip_224", patch_size=8, embed_dim=48, num_heads=3),
        3,
        16,
    ),
    "torchvision vit": (torchvision_vit, 2, 17),
    "nn.TransformerEncoder": (plain_encoder, 2, 16),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_every_layer_arrives_and_its_map_gives_its_output(name: str) -> None:
    """The recorded map times the recorded values is what SDPA returned, and the answer is the model's own."""
    make, layers, tokens = MODELS[name]
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        before = model(PIXELS)
    with record_attention(model, gradients=True) as recorder:
        answer = model(PIXELS)
    assert recorder.layer_count == layers
    torch.testing.assert_close(answer, before, atol=1e-5, rtol=1e-4)
    for layer in range(layers):
        record = recorder.record(layer)
        rows = record.rows()
        assert rows.shape[-1] == tokens
        torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:-1]), atol=1e-5, rtol=0)
        assert record.output is not None
        torch.testing.assert_close(rows @ record.value, record.output.detach(), atol=1e-5, rtol=1e-4)


def test_gradient_of_a_map_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    model = timm_model("vit_tiny_patch16_224", patch_size=8, embed_dim=48).double()
    pixels = PIXELS[:1].double()
    with record_attention(model, gradients=True) as recorder:
        recorder.backward(model(pixels)[0, 1])
    record = recorder.record(0)
    expected = record.gradient()[0, 0, 0, 3].item()
    original, step = functional.scaled_dot_product_attention, 1e-4

    def moved(change: float) -> float:
        calls = []

        def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: object) -> torch.Tensor:
            calls.append(1)
            rows = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
            if len(calls) == 1:
                rows = rows.clone()
                rows[0, 0, 0, 3] += change
            return rows @ value

        functional.scaled_dot_product_attention = attention  # type: ignore[assignment]
        try:
            with torch.no_grad():
                return float(model(pixels)[0, 1])
        finally:
            functional.scaled_dot_product_attention = original

    assert expected == pytest.approx((moved(step) - moved(-step)) / (2 * step), rel=1e-3)


def test_unfused_timm_attention_is_recorded_and_left_as_it_was() -> None:
    model = timm_model("vit_tiny_patch16_224", patch_size=8, embed_dim=48)
    for block in model.blocks:
        block.attn.fused_attn = False
    with torch.no_grad(), record_attention(model) as recorder:
        model(PIXELS)
    assert recorder.layer_count == 2
    assert not any(block.attn.fused_attn for block in model.blocks)


def test_windowed_models_are_refused_by_name() -> None:
    import timm

    hiera = timm.create_model("hiera_tiny_224", pretrained=False, num_classes=3).eval()
    with torch.no_grad(), pytest.raises(AtlasError, match="Hiera attends within windows"), record_attention(hiera):
        hiera(torch.zeros(1, 3, 224, 224))
    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, num_classes=3).eval()
    with (
        torch.no_grad(),
        pytest.raises(AtlasError, match="SwinTransformer"),
        record_attention(swin),
    ):
        swin(torch.zeros(1, 3, 224, 224))
