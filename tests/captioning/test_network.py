import pytest
import torch
from safetensors.torch import load_file

from vit_atlas.captioning.model.network import CaptionNetwork, NetworkShape, sine_position

TINY = NetworkShape(
    vocabulary=101,
    feature_channels=24,
    width=32,
    heads=4,
    encoder_layers=2,
    decoder_layers=3,
    feed_forward=64,
    positions=16,
)


@pytest.fixture(scope="module")
def tiny(vectors):
    return load_file(vectors / "catr_tiny.safetensors")


@pytest.fixture(scope="module")
def network(tiny):
    network = CaptionNetwork(TINY).eval()
    network.load_state_dict({name.removeprefix("state."): v for name, v in tiny.items() if name.startswith("state.")})
    return network


def inputs(tiny):
    return tiny["in.features"], tiny["in.feature_mask"], tiny["in.tokens"], tiny["in.token_mask"]


@pytest.mark.vectors
def test_position_encoding_is_the_originals(tiny):
    torch.testing.assert_close(sine_position(tiny["in.feature_mask"], 32), tiny["out.position"], atol=1e-5, rtol=0)


@pytest.mark.vectors
@torch.inference_mode()
def test_encoder_is_the_originals(tiny, network):
    memory = network.encode(tiny["in.features"], tiny["in.feature_mask"])
    torch.testing.assert_close(memory.values.transpose(0, 1), tiny["out.memory"], atol=1e-4, rtol=0)
    assert memory.grid == (7, 9)


@pytest.mark.vectors
@torch.inference_mode()
@pytest.mark.parametrize("record", [True, False])
def test_logits_and_maps_are_the_originals(tiny, network, record):
    logits, maps = network(*inputs(tiny), record=record)
    torch.testing.assert_close(logits, tiny["out.logits"], atol=1e-4, rtol=0)
    if record:
        torch.testing.assert_close(maps, tiny["out.cross_attention"], atol=1e-4, rtol=0)
    else:
        assert maps is None


@torch.inference_mode()
def test_word_by_word_equals_all_at_once():
    torch.manual_seed(0)
    network = CaptionNetwork(TINY).eval()
    features, padding = torch.randn(2, 24, 3, 4), torch.zeros(2, 3, 4, dtype=torch.bool)
    padding[1, :, 2:] = True
    tokens = torch.randint(1, 101, (2, 6))
    logits, maps = network(features, padding, tokens, record=True)
    state = network.start(network.encode(features, padding))
    for position in range(6):
        hidden, step_maps = network.decode(tokens[:, position : position + 1], state, record=True)
        torch.testing.assert_close(network.mlp(hidden)[:, 0], logits[:, position], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(step_maps[..., 0, :], maps[..., position, :], atol=1e-6, rtol=1e-5)


@torch.inference_mode()
def test_padding_of_the_photo_is_never_looked_at():
    torch.manual_seed(0)
    network = CaptionNetwork(TINY).eval()
    padding = torch.zeros(1, 3, 4, dtype=torch.bool)
    padding[:, :, 3] = True
    features, tokens = torch.randn(1, 24, 3, 4), torch.randint(1, 101, (1, 5))
    logits, maps = network(features, padding, tokens, record=True)
    assert maps.unflatten(-1, (3, 4))[..., 3].abs().max() == 0
    torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:-1]))
    changed = features.clone()
    changed[..., 3] = 100.0
    torch.testing.assert_close(network(changed, padding, tokens)[0], logits)


@torch.inference_mode()
def test_captions_side_by_side_share_their_photo():
    torch.manual_seed(0)
    network = CaptionNetwork(TINY).eval()
    features, padding = torch.randn(2, 24, 3, 4), torch.zeros(2, 3, 4, dtype=torch.bool)
    padding[0, 2] = True
    tokens = torch.randint(1, 101, (6, 5))
    together, maps = network(features, padding, tokens, record=True)
    repeated, expected = network(features.repeat_interleave(3, 0), padding.repeat_interleave(3, 0), tokens, record=True)
    torch.testing.assert_close(together, repeated, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(maps, expected, atol=1e-6, rtol=1e-5)
