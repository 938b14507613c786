"""What distance means to a model, on tokens and attention whose answer is known."""

import numpy as np
import pytest
import torch

from vit_atlas.attention.locality import attention_distance, relative_bias, some_photos, token_similarity
from vit_atlas.attention.positions import grid_distances
from vit_atlas.attention.recorder import LayerRecord
from vit_atlas.models.geometry import TokenLayout

from .conftest import Project

ROW = TokenLayout(grid=(1, 6), prefix_tokens=1, patch=(4, 4))


def _record(attention: np.ndarray, mask: torch.Tensor | None = None) -> LayerRecord:
    """One photo whose softmax rows are ``attention`` (heads, tokens, tokens)."""
    heads, tokens, _ = attention.shape
    identity = torch.eye(tokens).expand(1, heads, tokens, tokens)
    keys = torch.from_numpy(attention).float().clamp(min=1e-30).log().transpose(1, 2)[None]
    return LayerRecord(identity, keys, identity, 1.0, mask)


def test_heads_that_look_at_a_fixed_distance_have_that_distance() -> None:
    """Head 0 looks 2 patches away, head 1 at itself, head 2 evenly; the class token's row and column do not count."""
    attention = np.zeros((3, 7, 7))
    for patch in range(6):
        attention[0, 1 + patch, 1 + (patch + 2 if patch < 4 else patch - 2)] = 0.5
        attention[1, 1 + patch, 1 + patch] = 0.5
        attention[2, 1 + patch, 1:] = 0.5 / 6
    attention[:, 1:, 0] = 0.5
    attention[:, 0, 6] = 1
    even = grid_distances(1, 6).mean()
    assert attention_distance(_record(attention), ROW) == pytest.approx([2, 0, even])


def test_distance_is_measured_in_chunks_of_large_grids() -> None:
    layout = TokenLayout(grid=(20, 20), prefix_tokens=3, patch=(4, 4))
    attention = np.random.default_rng(0).dirichlet(np.ones(403), (1, 403))
    looks = attention[0, 3:, 3:] / attention[0, 3:, 3:].sum(axis=1, keepdims=True)
    expected = (looks * grid_distances(20, 20).reshape(400, 400)).sum(axis=1).mean()
    assert attention_distance(_record(attention), layout) == pytest.approx([expected], rel=1e-4)


def _placed(rows: int, columns: int) -> np.ndarray:
    """Tokens whose similarity falls with distance."""
    y, x = np.mgrid[:rows, :columns] * 0.2
    return np.stack([np.cos(y), np.sin(y), np.cos(x), np.sin(x)], axis=-1)


def test_tokens_that_keep_their_place_are_alike_between_photos_too() -> None:
    found = token_similarity([_placed(5, 9) * scale for scale in (1, 2, 3)])
    for name in ("token_rank_correlation", "token_rank_correlation_between_photos"):
        assert len(found.by_photo[name]) == 3
        assert max(found.by_photo[name]) < -0.95
    np.testing.assert_allclose(found.means["in one photo"][2, 3, 2, 3], 1)


def test_neighbours_and_others_equal_plain_loops() -> None:
    tokens = np.random.default_rng(0).normal(size=(3, 4, 6))
    pairs = [(a, b) for a in np.ndindex(3, 4) for b in np.ndindex(3, 4) if a != b]
    cosines = [tokens[a] @ tokens[b] / np.linalg.norm(tokens[a]) / np.linalg.norm(tokens[b]) for a, b in pairs]
    close = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1 for a, b in pairs]
    near, far = (
        np.mean([cosine for cosine, one in zip(cosines, close, strict=True) if one is kind]) for kind in (True, False)
    )
    found = token_similarity([tokens]).by_photo
    assert found["token_similarity_neighbours"] == pytest.approx([near])
    assert found["token_similarity_others"] == pytest.approx([far])
    assert found["token_neighbours_over_others"] == pytest.approx([near - far])


def test_content_alone_is_alike_in_one_photo_and_not_between_photos() -> None:
    """Each photo has its own smooth tokens, so that close ones are alike and those of two photos are unrelated."""
    generator = np.random.default_rng(0)
    found = token_similarity([np.kron(generator.normal(size=(3, 3, 64)), np.ones((3, 3, 1))) for _ in range(4)])
    assert min(found.by_photo["token_neighbours_over_others"]) > 0.4
    assert np.mean(found.by_photo["token_rank_correlation"]) < -0.2
    assert abs(np.mean(found.by_photo["token_rank_correlation_between_photos"])) < 0.1
    one, between = (found.means[name][4, 4] for name in ("in one photo", "between photos"))
    assert one[3, 3] == pytest.approx(1)
    assert abs(between[3, 3]) < 0.3


def test_one_photo_has_no_other_and_one_patch_no_neighbour() -> None:
    found = token_similarity([_placed(1, 1)])
    assert list(found.means) == ["in one photo"]
    assert found.by_photo["token_rank_correlation_between_photos"] == []
    assert np.isnan(found.by_photo["token_neighbours_over_others"]).all()


def test_a_bias_by_relative_position_is_laid_out_by_offset() -> None:
    layout = TokenLayout(grid=(2, 3), prefix_tokens=1, patch=(4, 4))
    offsets = np.random.default_rng(0).normal(size=(2, 3, 5))
    mask = np.full((1, 2, 7, 7), 9.0)
    places = list(np.ndindex(2, 3))
    for one, (y, x) in enumerate(places):
        for other, (down, right) in enumerate(places):
            mask[0, :, 1 + one, 1 + other] = offsets[:, down - y + 1, right - x + 2]
    record = _record(np.full((2, 7, 7), 1 / 7), torch.from_numpy(mask))
    np.testing.assert_allclose(relative_bias(record, layout), offsets)
    for none in (None, torch.zeros(1, 2, 7, 7), torch.ones(1, 1, 7, 7, dtype=torch.bool), torch.randn(1, 2, 1, 7)):
        assert relative_bias(_record(np.full((2, 7, 7), 1 / 7), none), layout) is None


def test_photos_are_spread_evenly_over_the_test(project: Project) -> None:
    layout = project.classifier.layout
    tested = sorted(project.manifest.split("test").image_ids)
    assert [photo.image_id for photo in some_photos(project.manifest, 99, layout)] == tested
    assert [photo.image_id for photo in some_photos(project.manifest, 2, layout)] == [tested[0], tested[-1]]
    assert some_photos(project.manifest, 5, TokenLayout((1, 1), 0, (99, 99))) == []
