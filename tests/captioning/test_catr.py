import json

import pytest
import torch
from safetensors.torch import load_file

from vit_atlas.captioning.published.catr import Catr, fused_backbone, load_catr
from vit_atlas.errors import AtlasError


@pytest.fixture(scope="module")
def shapes(vectors):
    return json.loads((vectors / "catr_v3_state_dict_shapes.json").read_text())


@pytest.fixture(scope="module")
def network(shapes, filled_state):
    return load_catr(filled_state(shapes), "filled")


@pytest.fixture(scope="module")
def pixels():
    wave = torch.sin(0.013 * torch.arange(3 * 224 * 299, dtype=torch.float64))
    return wave.reshape(1, 3, 224, 299).float()


@pytest.mark.vectors
def test_keys_and_shapes_are_the_published_ones(shapes):
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in Catr().state_dict().items()}
    assert ours == shapes


@pytest.mark.vectors
@torch.inference_mode()
def test_numbers_are_the_originals(vectors, network, pixels):
    original = load_file(vectors / "catr_v3_filled.safetensors")
    features, padding = network.features(pixels, torch.zeros(1, 224, 299, dtype=torch.bool))
    logits, maps = network(features, padding, original["in.tokens"], original["in.token_mask"], record=True)
    assert features.shape == (1, 2048, 14, 19)
    torch.testing.assert_close(logits[:, :6, :2000], original["out.logits_first6"], atol=1e-3, rtol=0)
    assert torch.equal(logits[:, :6].argmax(-1), original["out.argmax_first6"])
    torch.testing.assert_close(maps[..., :6, :], original["out.cross_attention_first6"], atol=1e-3, rtol=0)


@pytest.mark.vectors
@torch.inference_mode()
def test_fused_backbone_gives_the_same_features(network, pixels):
    expected = network.backbone(pixels)
    torch.testing.assert_close(fused_backbone(network.backbone)(pixels), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(network.backbone(pixels), expected), "the original must stay as it was"


def test_another_shape_is_one_clear_sentence():
    with torch.device("meta"):
        state = dict(Catr().state_dict())
    state["input_proj.weight"] = torch.empty(256, 512, 1, 1, device="meta")
    with pytest.raises(AtlasError, match=r"x\.pth is not .* `input_proj\.weight` has shape \(256, 512"):
        load_catr(state, "x.pth")
    del state["input_proj.weight"]
    with pytest.raises(AtlasError, match=r"`input_proj\.weight` is missing"):
        load_catr(state, "x.pth")
