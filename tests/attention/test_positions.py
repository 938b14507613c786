"""Similarity of position embeddings against loops, and its numbers on embeddings whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from transformers import AutoModelForImageClassification, BeitConfig, ViTImageProcessor

from tests.tiny_models import tiny_model
from tests.tiny_settings import tiny_settings
from vit_atlas.attention.locality import PER_PHOTO, measure_locality
from vit_atlas.attention.positions import (
    cosine_similarities,
    dot_products,
    grid_distances,
    packed_similarities,
    position_metrics,
    rank_correlation,
    similarity_by_distance,
)
from vit_atlas.attention.summary import summarise_embeddings
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier
from vit_atlas.paths import EMBEDDING_PLOTS
from vit_atlas.pictures.embeddings import write_and_draw
from vit_atlas.report import explore
from vit_atlas.report.sentences import ENOUGH, claims


def _random(rows: int = 3, columns: int = 4, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, columns, dimensions)).astype(np.float32)


def _by_place(rows: int, columns: int) -> np.ndarray:
    """Embeddings whose cosine similarity falls strictly with distance along each axis."""
    y, x = np.mgrid[:rows, :columns] * 0.2
    return np.stack([np.cos(y), np.sin(y), np.cos(x), np.sin(x)], axis=-1)


def test_similarities_equal_plain_loops() -> None:
    embedding = _random()
    cosine, dot, distance = cosine_similarities(embedding), dot_products(embedding), grid_distances(3, 4)
    for r, c, i, j in np.ndindex(3, 4, 3, 4):
        one, other = embedding[r, c].astype(float), embedding[i, j].astype(float)
        assert dot[r, c, i, j] == pytest.approx(one @ other)
        assert cosine[r, c, i, j] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        assert distance[r, c, i, j] == pytest.approx(np.hypot(r - i, c - j))


def test_rank_correlation_equals_scipy_on_pairs_taken_once() -> None:
    similarity = cosine_similarities(_random())
    places = list(np.ndindex(3, 4))
    pairs = [(a, b) for n, a in enumerate(places) for b in places[n + 1 :]]
    expected = stats.spearmanr(
        [similarity[a + b] for a, b in pairs], [np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in pairs]
    ).statistic
    assert rank_correlation(similarity) == pytest.approx(expected)


def test_embeddings_that_know_their_place_correlate_and_shuffled_ones_do_not() -> None:
    placed = _by_place(5, 9)
    shuffled = np.random.default_rng(0).permutation(placed.reshape(45, 4)).reshape(5, 9, 4)
    assert rank_correlation(cosine_similarities(placed)) < -0.95
    assert abs(rank_correlation(cosine_similarities(shuffled))) < 0.15


def test_norms_disturb_the_dot_product_and_not_the_cosine() -> None:
    placed = _by_place(5, 5)
    scaled = placed * np.random.default_rng(0).uniform(0.5, 3, size=(5, 5, 1))
    metrics = position_metrics(placed, scaled)
    assert metrics["rank_correlation_after"] == pytest.approx(metrics["rank_correlation_before"])
    assert metrics["mean_absolute_change"] == pytest.approx(0, abs=1e-12)
    assert metrics["relative_change"] > 0.3
    assert metrics["norm_spread_after"] > 0.2 > metrics["norm_spread_before"]
    assert metrics["dot_rank_correlation_after"] > metrics["dot_rank_correlation_before"] + 0.3


def test_curve_gives_the_mean_at_each_distance() -> None:
    similarity = cosine_similarities(_by_place(1, 5))
    curve = similarity_by_distance(similarity)
    assert list(curve.distance) == [1, 2, 3, 4]
    for distance, mean in zip(curve.distance, curve.mean, strict=True):
        assert mean == pytest.approx((1 + np.cos(0.2 * distance)) / 2)
    assert np.all(curve.low <= curve.mean + 1e-12)
    assert np.all(curve.mean <= curve.high + 1e-12)


def test_equal_embeddings_have_no_correlation() -> None:
    metrics = position_metrics(np.ones((3, 3, 4)), np.ones((3, 3, 4)))
    assert metrics["rank_correlation_before"] is None
    assert metrics["mean_absolute_change"] == 0


def test_a_single_patch_has_no_correlation() -> None:
    assert position_metrics(np.ones((1, 1, 4)), np.ones((1, 1, 4)))["rank_correlation_after"] is None


def test_grids_of_two_sizes_are_an_error() -> None:
    with pytest.raises(AtlasError, match="grid of 3x4 and the fine-tuned one of 2x2"):
        position_metrics(_random(), _random(2, 2))


def test_the_page_gets_similarities_of_an_even_choice_of_patches() -> None:
    similarity = cosine_similarities(np.random.default_rng(0).standard_normal((30, 20, 4)))
    packed = packed_similarities(similarity, similarity)
    assert packed["step"] == 2
    assert packed["grid"].tolist() == [30, 20]
    assert packed["before"].shape == (15, 10, 15, 10)
    expected = similarity[0::2, 0::2, 0::2, 0::2]
    np.testing.assert_allclose(packed["before"] / 127 - 1, expected, atol=0.005)
    small = cosine_similarities(np.ones((2, 3, 4)))
    assert packed_similarities(small, small)["after"].shape == (2, 3, 2, 3)


def test_a_model_without_a_table_is_measured_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bias is drawn, and the sentence about position embeddings gives way to the one about tokens."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BeitConfig(**sizes, image_size=32, patch_size=8, use_relative_position_bias=True, initializer_range=0.2)
    model = AutoModelForImageClassification.from_config(config).eval()
    for module in model.modules():
        if hasattr(module, "relative_position_bias_table"):
            torch.nn.init.normal_(module.relative_position_bias_table)
    classifier = Classifier(model, ViTImageProcessor(size={"height": 32, "width": 32}))
    noise = np.random.default_rng(0).integers(0, 255, (ENOUGH, 40, 50, 3), dtype=np.uint8)
    locality = measure_locality(classifier, map(Image.fromarray, noise))
    assert locality is not None
    assert locality.bias is not None
    assert locality.bias.shape == (2, 2, 7, 7)
    write_and_draw(model, model, locality, tiles=4)
    metrics = summarise_embeddings(tiny_settings()).metrics
    assert str(metrics["missing"]).startswith("a beit model has no table of position embeddings")
    assert {metrics[key] for key in position_metrics(np.ones((1, 1, 1)), np.ones((1, 1, 1)))} == {None}
    assert {path.name for path in EMBEDDING_PLOTS.iterdir()} == {"tokens.png", "attention_distance.png", "bias.png"}
    assert metrics["photos"] == ENOUGH
    for name in PER_PHOTO:
        assert -1 < metrics[f"token_{name}_low"] < metrics[f"token_{name}"] < metrics[f"token_{name}_high"] < 1
    assert 0 < metrics["attention_distance_nearest_head"] <= metrics["attention_distance_first_layer"]
    assert (explore.embeddings(), explore.distance_rows()) == (None, [])
    assert {row["when"] for row in explore.token_rows()} == {"in one photo", "between photos"}
    table, tokens = claims({"embeddings": metrics})
    assert (table.verdict, table.numbers) == ("cannot be said", (metrics["missing"],))
    assert tokens.text == "Patches close to each other end with similar tokens."
    assert tokens.numbers[2].startswith("difference, photo by photo, ")


def test_without_photos_the_table_alone_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    model = tiny_model("vit")
    assert measure_locality(Classifier(model, ViTImageProcessor(size={"height": 32, "width": 32})), []) is None
    write_and_draw(model, model, None, tiles=4)
    assert "photos" not in summarise_embeddings(tiny_settings()).metrics
    assert "distance.png" in {path.name for path in EMBEDDING_PLOTS.iterdir()}
    assert (explore.token_rows(), explore.attention_distances()) == ([], None)
