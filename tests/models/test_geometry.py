from types import SimpleNamespace

import pytest
import torch

from tests.tiny_models import tiny_config, tiny_model
from vit_atlas.errors import AtlasError
from vit_atlas.models.geometry import as_size, position_embedding, token_layout


@pytest.mark.parametrize(("family", "prefix"), [("vit", 1), ("deit", 2), ("dinov2", 1), ("dinov2_with_registers", 4)])
def test_layout_counts_the_tokens_that_the_model_makes(family: str, prefix: int) -> None:
    model = tiny_model(family, image_size=48)
    tokens = model.base_model(torch.zeros(1, 3, 48, 48)).last_hidden_state.shape[1]
    layout = token_layout(model.config)
    assert layout.prefix_tokens == prefix
    assert layout.tokens == tokens
    assert layout.grid == (6, 6)
    assert layout.image_size == (48, 48)


def test_non_square_grids_come_from_height_and_width() -> None:
    layout = token_layout(tiny_config(image_size=[32, 64], patch_size=[8, 16]))
    assert layout.grid == (4, 4)
    assert layout.patch == (8, 16)
    assert token_layout(tiny_config("dinov2"), (16, 64)).grid == (2, 8)


def test_position_embedding_is_row_major(family: str) -> None:
    size = [16, 40] if family in ("vit", "deit") else 48
    model = tiny_model(family, image_size=size)
    rows, cols = (2, 5) if family in ("vit", "deit") else (6, 6)
    parameter = model.base_model.embeddings.position_embeddings
    with torch.no_grad():
        parameter[0, -rows * cols :, 0] = torch.arange(float(rows * cols))
    grid = position_embedding(model)
    assert grid.shape == (rows, cols, 16)
    assert grid[1, 2, 0] == cols + 2
    assert not grid.requires_grad


@pytest.mark.parametrize(
    ("size", "near"),
    [((30, 32), "24 or 32 for the height"), ((32, 33), "32 or 40 for the width"), ((5, 8), "use 8 for")],
)
def test_sizes_that_patches_do_not_divide_name_the_nearest(size: tuple[int, int], near: str) -> None:
    with pytest.raises(AtlasError, match=near) as caught:
        token_layout(SimpleNamespace(patch_size=8, model_type="vit"), size)
    assert "model.image_size" in str(caught.value)


def test_as_size() -> None:
    assert as_size(4) == (4, 4)
    assert as_size([4, 6]) == (4, 6)
