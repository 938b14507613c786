import pytest
import torch

from tests.tiny_models import tiny_model
from vit_atlas.errors import AtlasError
from vit_atlas.models.geometry import as_size, grid_of, position_embedding


def test_grids_that_are_not_square_come_from_height_and_width() -> None:
    assert grid_of((32, 64), (8, 16)) == (4, 4)
    assert grid_of((16, 64), (8, 8)) == (2, 8)


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
        grid_of(size, (8, 8))
    assert "model.image_size" in str(caught.value)


def test_as_size() -> None:
    assert as_size(4) == (4, 4)
    assert as_size([4, 6]) == (4, 6)
