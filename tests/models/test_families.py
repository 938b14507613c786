"""Every family, tiny and random, through the path of a hub id: docs/reference/models.md is this test's table."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    BeitConfig,
    CLIPConfig,
    Data2VecVisionConfig,
    DeiTConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    IJepaConfig,
    MetaClip2Config,
    SiglipConfig,
    TimmWrapperConfig,
    ViTConfig,
    ViTImageProcessor,
    ViTMSNConfig,
)

from tests.tiny_settings import tiny
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import METHODS
from vit_atlas.attention.passes import run_pass
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.models.hub import quiet
from vit_atlas.models.trunk import split
from vit_atlas.settings import ModelSettings

PLAIN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
SIZES = PLAIN | {"intermediate_size": 32}
SMALL = {"patch_size": 8, "embed_dim": 48, "num_heads": 3}


def two_towers(kind: Any) -> Any:
    return kind(vision_config=SIZES)


def timm(name: str, **options: Any) -> Any:
    return TimmWrapperConfig(architecture=name, model_args={"img_size": 32, "depth": 2, **SMALL, **options})


FAMILIES = {
    "ViT": (lambda: ViTConfig(**SIZES), "class token"),
    "DeiT": (lambda: DeiTConfig(**SIZES), "class token"),
    "DINOv2": (lambda: Dinov2Config(**PLAIN), "class token and mean of patches"),
    "DINOv2 with registers": (lambda: Dinov2WithRegistersConfig(**PLAIN), "class token and mean of patches"),
    "BEiT": (lambda: BeitConfig(**SIZES, use_relative_position_bias=True), "mean of patches"),
    "BEiT, class token": (lambda: BeitConfig(**SIZES, use_mean_pooling=False), "class token"),
    "Data2Vec": (lambda: Data2VecVisionConfig(**SIZES, use_relative_position_bias=True), "mean of patches"),
    "CLIP": (lambda: two_towers(CLIPConfig), "mean of patches"),
    "MetaCLIP 2": (lambda: two_towers(MetaClip2Config), "mean of patches"),
    "SigLIP, SigLIP 2 of fixed size": (lambda: two_towers(SiglipConfig), "mean of patches"),
    "I-JEPA": (lambda: IJepaConfig(**SIZES), "mean of patches"),
    "ViT-MSN": (lambda: ViTMSNConfig(**SIZES), "class token"),
    "timm ViT": (lambda: timm("vit_tiny_patch16_224"), "class token"),
    "timm DeiT III": (lambda: timm("deit3_small_patch16_224"), "class token"),
    "timm DINOv2": (lambda: timm("vit_small_patch14_dinov2"), "class token"),
    "timm DINOv2 with registers": (lambda: timm("vit_small_patch14_reg4_dinov2"), "class token"),
    "timm DINOv3": (lambda: timm("vit_small_patch16_dinov3"), "mean of patches"),
    "timm EVA-02": (lambda: timm("eva02_tiny_patch14_224"), "mean of patches"),
    "timm EVA-02 CLIP": (lambda: timm("eva02_base_patch16_clip_224"), "class token"),
    "timm BEiT": (lambda: timm("beit_base_patch16_224"), "mean of patches"),
    "timm BEiT v2": (lambda: timm("beitv2_base_patch16_224"), "mean of patches"),
    "timm CLIP": (lambda: timm("vit_base_patch16_clip_224"), "class token"),
    "timm SigLIP": (lambda: timm("vit_base_patch16_siglip_224"), "attention pooling"),
    "timm SigLIP, mean": (lambda: timm("vit_base_patch16_siglip_gap_224"), "mean of patches"),
    "timm ViT, relative positions": (lambda: timm("vit_relpos_small_patch16_224"), "mean of patches"),
    "timm Perception Encoder": (lambda: timm("vit_pe_core_tiny_patch16_384"), "attention pooling"),
}
TABLE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "models.md"


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_loads_and_its_maps_start_from_its_readout(name: str, tmp_path: Path) -> None:
    make, kind = FAMILIES[name]
    torch.manual_seed(0)
    config = make()
    config.num_labels, config.architectures = 3, []
    with quiet():
        AutoModelForImageClassification.from_config(config).save_pretrained(tmp_path / "hub")
    ViTImageProcessor().save_pretrained(tmp_path / "hub")
    settings = tiny(ModelSettings, name=str(tmp_path / "hub"), image_size=48)
    load_pretrained(settings, ["a", "b", "c"], seed=0).save(tmp_path / "model")
    classifier = load_finetuned(tmp_path / "model")
    assert list(classifier.id2label.values()) == ["a", "b", "c"]
    assert classifier.readout.kind == kind
    assert classifier.readout.ignores_class_token == (kind == "mean of patches" and classifier.layout.prefix_tokens > 0)
    assert classifier.layout.patches == classifier.layout.grid[0] * classifier.layout.grid[1]
    pixels = torch.randn(2, 3, *classifier.image_size)
    with torch.no_grad():
        expected = classifier.model(pixels).logits
        for trainable in range(classifier.layer_count + 1):
            parts = split(classifier.model, trainable, classifier.image_size)
            torch.testing.assert_close(parts.tail(pixel_values=parts.trunk(pixels).last_hidden_state).logits, expected)
    found = make_maps(run_pass(classifier, pixels), ["x", "y"], list(METHODS), MapOptions(head=0))
    assert {values.shape for values in found.values()} == {(2, *classifier.layout.grid)}
    assert all((values >= 0).all() for values in found.values())
    assert f"| {name} | {kind} |" in TABLE.read_text()
