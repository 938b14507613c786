"""Sanity checks can fail: a map that ignores the model is caught, and one that reads it changes."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from tests.tiny_settings import tiny
from vit_atlas.attention.collect import collect
from vit_atlas.attention.maps import MapOptions
from vit_atlas.attention.methods import SANITY
from vit_atlas.attention.sanity import moved, rank_correlation, sanity_table, spoiled
from vit_atlas.attention.study import run_study
from vit_atlas.attention.summary import study_metrics
from vit_atlas.errors import AtlasError
from vit_atlas.models.trunk import head_of
from vit_atlas.report.result import sanity
from vit_atlas.settings import AttentionSettings

from .conftest import Project

NAMES = ("head_mean", "relevance", "gradcam", "gaussian", "uniform")


def test_a_map_that_ignores_the_model_is_flagged_and_one_that_reads_it_is_not(project: Project) -> None:
    settings = tiny(AttentionSettings, methods=NAMES, scored_photos=20, faithfulness_photos=0, sanity_photos=4)
    metrics = study_metrics(*run_study(project.classifier, project.manifest, settings).tables(0), settings)
    assert metrics["photos_sanity"] == 4
    assert metrics["gaussian.sanity_head"] == metrics["gaussian.sanity_blocks"] == pytest.approx(1)
    assert metrics["relevance.sanity_blocks"] < 0.8
    assert metrics["head_mean.stable_noise"] > metrics["head_mean.sanity_blocks"]
    assert "head_mean.sanity_head" not in metrics, "it explains no class, and so never asks the head"
    flags = {row.method: row.flag for row in sanity(metrics)}
    assert flags["centre Gaussian"] == "does not change: random head, random last blocks and head"
    assert flags["gradient x attention"] == ""
    assert "uniform" not in flags, "it puts no patches in an order"
    assert sanity({}) == []


def test_all_photos_explain_the_class_of_the_whole_model(project: Project) -> None:
    photos = project.manifest.split("test").with_masks()
    plain = collect(project.classifier, photos, NAMES, MapOptions(), "maps")
    before = {name: values.clone() for name, values in project.classifier.model.state_dict().items()}
    table = sanity_table(project.classifier, photos, plain, MapOptions(), seed=0)
    assert table["method"].tolist() == [*NAMES] * len(photos)
    with spoiled([head_of(project.classifier.model)], 0):
        found = collect(project.classifier, photos, NAMES, MapOptions(), "maps", targets=plain.predictions)
    row = table[(table["method"] == "gradcam") & (table["image_id"] == photos.image_ids[1])].iloc[0]
    expected = rank_correlation(plain.maps["gradcam"][1], found.maps["gradcam"][1])
    assert row["sanity_head"] == pytest.approx(expected, nan_ok=True)
    after = project.classifier.model.state_dict()
    assert all(torch.equal(after[name], values) for name, values in before.items()), "the weights are put back"
    assert set(SANITY) < set(table.columns)


def test_weights_are_shuffled_and_put_back_also_after_an_error(project: Project) -> None:
    head = head_of(project.classifier.model)
    before = head.weight.clone()
    with spoiled([head, head], 0):
        assert not torch.equal(head.weight, before)
        assert sorted(head.weight.flatten().tolist()) == sorted(before.flatten().tolist())
    assert torch.equal(head.weight, before)
    with suppress(AtlasError), spoiled([head], 0):
        raise AtlasError("a photo cannot be opened")
    assert torch.equal(head.weight, before)


def test_a_photo_that_is_moved_has_its_patches_one_further() -> None:
    pixels = torch.arange(3 * 8 * 12.0).reshape(1, 3, 8, 12)
    found = moved(pixels, (2, 3))
    assert found.shape == pixels.shape
    assert torch.equal(found[..., 2:, 3:], pixels[..., :-2, :-3])
    assert torch.equal(found[..., 0, 3:], pixels[..., 0, :-3])


def test_rank_correlation_asks_for_the_order_alone() -> None:
    values = np.arange(12.0).reshape(3, 4)
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert np.isnan(rank_correlation(values, np.ones((3, 4))))
    assert np.isnan(rank_correlation(np.ones((0, 3)), np.ones((0, 3))))
