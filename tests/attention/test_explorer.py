"""What the page explores is the model's own attention, within the codes' precision, whatever the grid and tokens."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_models import PREFIX_TOKENS
from tests.tiny_settings import tiny
from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.token_colours import token_colours
from vit_atlas.errors import AtlasError
from vit_atlas.io.arrays import COSINE_LEVELS, LEVELS, pack_cosines, pack_maps, read_arrays, unpack_maps
from vit_atlas.io.files import read_json
from vit_atlas.models.classifier import Classifier
from vit_atlas.page_data.attention import MOST, AttentionPage, cell_side, pack_pass, special_names, to_cells
from vit_atlas.pictures.attention import explain_photos
from vit_atlas.settings import AttentionSettings

from .conftest import Project, eager_attentions, tiny_model


class FixedSize:
    """A processor that says only how large the input is."""

    def __init__(self) -> None:
        self.size = {"height": 16, "width": 16}


def test_packed_attention_is_that_of_eager_attention(kind: str, pixels: torch.Tensor) -> None:
    model = tiny_model(kind)
    eager = [maps[:1] for maps in eager_attentions(model, pixels)]
    trace = run_pass(Classifier(model, FixedSize()), pixels[:1], gradients=False)
    packed = pack_pass(trace, layer=1)
    prefix = PREFIX_TOKENS[kind]

    special = unpack_maps(packed["special"], packed["special_peaks"])
    if "dinov2" in kind:  # Its head reads more than the class token, so what it reads comes first.
        read = trace.block_rows(0)[0].numpy()
        np.testing.assert_allclose(special[0, :, 0], read, atol=read.max() / LEVELS)
        special = special[:, :, 1:]
    assert special.shape == (3, 2, prefix, 4, 4)
    expected = torch.cat(eager)[:, :, :prefix, prefix:].unflatten(-1, (4, 4)).numpy()
    np.testing.assert_allclose(special, expected, atol=expected.max() / LEVELS)

    patches = unpack_maps(packed["patches"], packed["patches_peaks"])
    expected = torch.cat(eager).mean(dim=1)[:, prefix:, prefix:].numpy()
    np.testing.assert_allclose(patches, expected, atol=expected.max() / LEVELS)

    heads = unpack_maps(packed["heads"], packed["heads_peaks"])
    expected = eager[1][0, :, prefix:, prefix:].numpy()
    np.testing.assert_allclose(heads, expected, atol=expected.max() / LEVELS)


def test_special_tokens_have_names() -> None:
    names = {}
    for kind in PREFIX_TOKENS:
        model = tiny_model(kind)
        classifier = Classifier(model, FixedSize())
        names[kind] = special_names(model.config, classifier.layout, classifier.readout)
    assert names["vit"] == ["class token"]
    assert names["deit"] == ["class token", "distillation token"]
    assert names["dinov2_with_registers"][0] == "class token and mean of patches (what the head reads)"
    assert names["dinov2_with_registers"][1:] == ["class token", "register 1", "register 2", "register 3"]


@pytest.mark.parametrize(("grid", "maps", "expected"), [((16, 16), 18, 1), ((24, 24), 24, 2), ((20, 40), 18, 2)])
def test_large_grids_are_put_together_in_cells(grid: tuple[int, int], maps: int, expected: int) -> None:
    assert cell_side(grid, maps) == expected
    rows, columns = (-(-side // expected) for side in grid)
    assert maps * (rows * columns) ** 2 <= MOST


def test_cells_keep_what_every_patch_gives_and_gets() -> None:
    attention = np.random.default_rng(0).dirichlet(np.ones(15), 15)
    cells = to_cells(attention, (3, 5), 2)
    assert cells.shape == (6, 6)
    np.testing.assert_allclose(cells.sum(axis=1), 1)
    corner = attention[[0, 1, 5, 6]].mean(axis=0)
    np.testing.assert_allclose(cells[0, 0], corner[[0, 1, 5, 6]].sum())
    np.testing.assert_allclose(cells[5, 5], attention[14, 14])
    np.testing.assert_allclose(cells[2, 3], attention[[4, 9]].mean(axis=0)[[10, 11]].sum())


def test_codes_are_a_byte_and_zeros_stay_zeros() -> None:
    codes, peaks = pack_maps(np.array([[[0.0, 0.25], [1.0, 0.01]], [[0.0, 0.0], [0.0, 0.0]]]))
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[[0, 32], [LEVELS, 6]], [[0, 0], [0, 0]]]
    assert peaks.tolist() == [1, 0]
    assert pack_cosines(np.array([-1.0, 0.0, 1.0, 1.0000001])).tolist() == [
        0,
        COSINE_LEVELS,
        2 * COSINE_LEVELS,
        2 * COSINE_LEVELS,
    ]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def explored(project: Project, folder: Path) -> dict[str, str]:
    settings = tiny(AttentionSettings, methods=["head_mean"])
    page = AttentionPage(project.classifier, -1, folder)
    tokens = []
    for one in explain_photos(
        project.classifier, project.pretrained, project.manifest.find(["0.png", "1.png"]), None, settings
    ):
        page.add(one.photo, one.stem, one.image, one.mask, one.probabilities, one.packed)
        tokens.append(one.tokens)
    page.save(["head_mean", "legrad"], token_colours(np.stack(tokens)))
    return digests(folder)


def test_files_say_what_is_in_them_and_are_the_same_each_time(project: Project, tmp_path: Path) -> None:
    first = explored(project, tmp_path / "first")
    assert first == explored(project, tmp_path / "second")
    assert set(first) == {"explorer.npz", "explorer.json", "0.jpg", "1.jpg"}
    content = read_json(tmp_path / "first" / "explorer.json")
    assert (content["grid"], content["cells"], content["cell"]) == ([4, 5], [4, 5], 1)
    assert (content["layers"], content["heads"], content["layer"]) == (3, 2, 2)
    assert content["methods"] == {"head_mean": "head mean", "legrad": "LeGrad"}
    photo = content["photos"][0]
    assert photo["truth"] == "dog"
    assert sum(probability for _, probability in photo["likely"]) == pytest.approx(1, abs=1e-5)
    assert photo["outline"].startswith("M")
    arrays = read_arrays(tmp_path / "first" / "explorer.npz", "attn-viz")
    assert arrays["special"].shape == (2, 3, 2, 2, 4, 5)
    assert arrays["patches"].shape == (2, 3, 20, 20)
    assert arrays["heads"].shape == (2, 2, 20, 20)
    assert arrays["colours"].shape == (2, 4, 5, 3)
    assert np.ptp(arrays["colours"], axis=(0, 1, 2)).tolist() == [255, 255, 255]


def test_a_broken_file_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"none\.npz does not exist: run `dvc repro attn-viz` first"):
        read_arrays(tmp_path / "none.npz", "attn-viz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(AtlasError, match=r"bad\.npz cannot be read \(.*\): run `dvc repro --force attn-viz`"):
        read_arrays(tmp_path / "bad.npz", "attn-viz")
