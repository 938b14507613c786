"""Tiny random models of every kind that the recorder serves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel, ViTImageProcessor

from tests import tiny_models
from tests.tiny_models import FAMILIES
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.models.classifier import Classifier

SMALL = {"num_hidden_layers": 3, "patch_size": 4, "image_size": 16, "initializer_range": 0.2}


def tiny_model(kind: str, seed: int = 0, **sizes: Any) -> PreTrainedModel:
    """Three layers over 4 x 4 patches, five classes."""
    return tiny_models.tiny_model(kind, "abcde", seed, **SMALL | sizes)


@pytest.fixture(params=list(FAMILIES))
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


@dataclass(frozen=True)
class Project:
    """Photos with masks, their manifest, and a tiny classifier, in the current folder."""

    manifest: Manifest
    classifier: Classifier
    pretrained: Classifier
    """The same with other weights."""
    predictions: pd.DataFrame


def add_photo(rows: list[dict[str, object]], index: int, split: str, mask: str = "disc") -> None:
    """Write one photo of 30 x 24 pixels and its mask, and add its row of the manifest."""
    generator = np.random.default_rng(index)
    Path("photos").mkdir(exist_ok=True)
    name = f"photos/{index}.png"
    Image.fromarray(generator.integers(0, 255, (24, 30, 3), dtype=np.uint8)).save(name)
    values = np.zeros((24, 30), np.uint8)
    values[4:16, 5:15] = 255
    if mask in ("empty", "full"):
        values[:] = 0 if mask == "empty" else 255
    if mask != "none":
        Image.fromarray(values).save(f"photos/{index}-mask.png")
    label = index % 2
    rows.append(
        {
            "image_id": f"{index}.png",
            "path": name,
            "split": split,
            "label": label,
            "class_name": "cat" if label else "dog",
            "width": 30,
            "height": 24,
            "mask": "" if mask == "none" else f"photos/{index}-mask.png",
            "mask_kind": "" if mask == "none" else "binary",
            **dict.fromkeys(COLUMNS[COLUMNS.index("mask_kind") + 1 :], ""),
        }
    )


def make_project(masks: bool = True) -> Project:
    """Six test photos, one more with an empty and one with a full mask, and four for validation."""
    rows: list[dict[str, object]] = []
    kinds = [*["disc"] * 6, "empty", "full"] if masks else ["none"] * 8
    for index, kind in enumerate(kinds):
        add_photo(rows, index, "test", kind)
    for index in range(8, 12):
        add_photo(rows, index, "val", "disc" if masks else "none")
    manifest = Manifest(pd.DataFrame(rows))
    model = tiny_models.tiny_model("dinov2", ("dog", "cat"), **SMALL)
    processor = ViTImageProcessor(size={"height": 16, "width": 20}, resample=2)
    tests = manifest.split("test").frame
    predictions = tests[["image_id", "class_name"]].assign(
        confidence=0.5, correct=[bool(index % 3) for index in range(len(tests))]
    )
    pretrained = tiny_models.tiny_model("dinov2", ("dog", "cat"), seed=1, **SMALL)
    return Project(manifest, Classifier(model, processor), Classifier(pretrained, processor), predictions)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return make_project()
