"""Fine-tuning that starts from the linear probe."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.finetune.test_run import fill_project
from tests.tiny_settings import tiny
from vit_atlas.data.manifest import Manifest
from vit_atlas.finetune.head import clean_features, start_from_probe
from vit_atlas.finetune.probe import fit_probe
from vit_atlas.models.classifier import load_pretrained
from vit_atlas.models.inference import forward
from vit_atlas.models.trunk import head_of
from vit_atlas.settings import ModelSettings


def rows(name: str) -> Manifest:
    return Manifest.read().split(name)


def test_the_head_tells_the_classes_before_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_project()
    classifier = load_pretrained(tiny(ModelSettings, name="pretrained"), ["blue", "red"], seed=0)
    trunk = {name: value.clone() for name, value in classifier.model.base_model.state_dict().items()}
    before = head_of(classifier.model).weight.clone()
    splits = {"train": rows("train"), "val": rows("val")}
    features = clean_features(classifier, splits, False)
    start_from_probe(classifier, fit_probe(features, {name: rows(name).labels for name in splits}, 2))
    photos = rows("train")
    logits = forward(classifier, None, photos, 4, "photos").logits
    rounded = clean_features(classifier, splits, True)["val"]
    assert np.abs(rounded - features["val"]).max() < 0.05 * np.abs(features["val"]).max()
    assert not np.array_equal(rounded, features["val"])
    assert (logits.argmax(axis=1) == photos.labels.astype(int)).all()
    assert not torch.equal(head_of(classifier.model).weight, before)
    assert all(torch.equal(value, trunk[name]) for name, value in classifier.model.base_model.state_dict().items())
