"""Every family, tiny and random, through the path of a hub id: docs/reference/models.md has this test's table.

``python -m tests.models.test_families`` prints it.
"""

import os
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
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

from tests.project import write_photos
from tests.tiny_settings import tiny
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import METHODS
from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.study import run_study
from vit_atlas.data.manifest import Manifest
from vit_atlas.data.prepare import prepare, write_prepared
from vit_atlas.finetune.run import finetune
from vit_atlas.models.classifier import Classifier, load_finetuned
from vit_atlas.models.hub import quiet
from vit_atlas.models.trunk import split
from vit_atlas.paths import CLASSIFICATION_DATA, HISTORY
from vit_atlas.settings import AttentionSettings, AugmentSettings, DataSettings, FinetuneSettings, ModelSettings
from vit_atlas.tracking import Stream

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
CHANCE = 1.10
"""The validation loss, in nats, of an even guess between three classes."""
TABLE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "models.md"


@dataclass(frozen=True)
class Tried:
    """What came of a family."""

    classifier: Classifier
    """Fine-tuned for one epoch."""
    loss: float
    """Validation loss after that epoch."""
    inside: float
    """Share of AttnLRP's map that lies on the object, mean over the test photos."""
    even: float
    """The same of an even map."""

    def row(self, name: str) -> str:
        """The family's row of the table."""
        return f"| {name} | {self.classifier.readout.kind} | {self.loss:.2f} | {self.inside:.2f} |"


def make_tiny_set(folder: Path) -> None:
    """Photos with masks, prepared; ``folder`` is the current one."""
    write_photos(folder / CLASSIFICATION_DATA, photos=24)
    write_prepared(prepare(CLASSIFICATION_DATA, tiny(DataSettings)))


def try_family(name: str) -> Tried:
    """Save a tiny random model as the hub serves it, train it an epoch at another input size, score its maps."""
    torch.manual_seed(0)
    config = FAMILIES[name][0]()
    config.num_labels, config.architectures = 3, []
    with quiet():
        AutoModelForImageClassification.from_config(config).save_pretrained("hub")
    ViTImageProcessor().save_pretrained("hub")
    training = tiny(FinetuneSettings, epochs=1, batch_size=4, trainable_blocks=1, cached_views=1, linear_probe=False,
                    learning_rate=1e-2)  # fmt: skip
    with patch("vit_atlas.finetune.run._stream", lambda _: nullcontext(Stream(None, None))):
        finetune(tiny(ModelSettings, name="hub", image_size=48), tiny(AugmentSettings, policy="none"), training)
    classifier = load_finetuned()
    settings = tiny(AttentionSettings, methods=["attnlrp", "uniform"], scored_photos=12, faithfulness_photos=0)
    mass = run_study(classifier, Manifest.read(masks=True), settings).scores.groupby("method")["mass"].mean()
    return Tried(classifier, pd.read_csv(HISTORY)["val_loss"].min(), mass["attnlrp"], mass["uniform"])


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with photos."""
    folder = tmp_path_factory.mktemp("families")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_tiny_set(folder)
    return folder


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_trains_and_its_maps_start_from_its_readout(
    name: str, tiny_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_set)
    tried, kind = try_family(name), FAMILIES[name][1]
    classifier = tried.classifier
    assert list(classifier.id2label.values()) == ["blue", "green", "red"]
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
    assert tried.loss < CHANCE
    assert tried.inside > 2 * tried.even
    (told,) = [line for line in TABLE.read_text().splitlines() if line.startswith(f"| {name} |")]
    _, told_kind, loss, inside = (cell.strip() for cell in told.strip("|").split("|"))
    assert told_kind == kind
    assert tried.loss == pytest.approx(float(loss), abs=0.05)
    assert tried.inside == pytest.approx(float(inside), abs=0.03)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_tiny_set(Path(folder))
        for family in FAMILIES:
            print(try_family(family).row(family), flush=True)  # noqa: T201
