import itertools

import pytest
import torch
from safetensors.torch import load_file

from vit_atlas.captioning.model.decoding import NetworkDecoder, Rules, fast_steps, search
from vit_atlas.captioning.model.network import CaptionNetwork, NetworkShape

SMALL = NetworkShape(
    vocabulary=6,
    feature_channels=5,
    width=8,
    heads=2,
    encoder_layers=1,
    decoder_layers=2,
    feed_forward=16,
    positions=8,
)
START, END = 1, 2


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = CaptionNetwork(SMALL).eval()
    for parameter in network.parameters():
        parameter.data *= 1.7
    return network


@pytest.fixture
def features():
    return torch.randn(3, 5, 2, 3, generator=torch.Generator().manual_seed(1))


def run(network, features, rules):
    with torch.inference_mode():
        return search(NetworkDecoder(network, network.encode(features)), len(features), rules)


def score(network, features, tokens):
    """Log-probabilities of ``tokens`` after the start token, by the full network, and the maps of its queries."""
    with torch.inference_mode():
        logits, maps = network(features[None], None, torch.tensor([[START, *tokens[:-1]]]), record=True)
    return logits[0].log_softmax(-1)[range(len(tokens)), tokens], maps[:, 0]


@pytest.mark.vectors
def test_greedy_tokens_are_the_originals(vectors):
    tiny = load_file(vectors / "catr_tiny.safetensors")
    network = CaptionNetwork(NetworkShape(101, 24, 32, 4, 2, 3, 64, 16)).eval()
    network.load_state_dict({name.removeprefix("state."): v for name, v in tiny.items() if name.startswith("state.")})
    fast_steps(network)
    with torch.inference_mode():
        memory = network.encode(tiny["in.features"], tiny["in.feature_mask"])
        found = search(NetworkDecoder(network, memory), 2, Rules(start=1, end=None, max_length=15))
    assert [[1, *caption.tokens] for caption in found] == tiny["out.greedy_tokens"].tolist()
    assert not any(caption.ended for caption in found)


def test_wide_beam_finds_the_best_of_all_captions(network, features):
    rules = Rules(START, END, never=(0, START), max_length=3, beams=60, length_penalty=0.7)
    words = [3, 4, 5]
    for photo, found in enumerate(run(network, features, rules)):
        scores = {}
        for length in range(4):
            for tokens in itertools.product(words, repeat=length):
                steps, _ = score(network, features[photo], [*tokens, END])
                scores[tokens] = float(steps.sum()) / (length + 1) ** 0.7
        best = max(scores, key=scores.__getitem__)
        assert tuple(found.tokens) == best
        assert found.score == pytest.approx(scores[best], abs=1e-5)
        assert found.ended


@pytest.mark.parametrize("beams", [1, 3])
def test_log_probabilities_and_maps_are_those_of_the_full_network(network, features, beams):
    rules = Rules(START, None, never=(0, START, END), max_length=6, beams=beams)
    for photo, found in enumerate(run(network, features, rules)):
        steps, maps = score(network, features[photo], found.tokens)
        assert found.maps.shape == (6, 2, 2, 6)
        torch.testing.assert_close(torch.tensor(found.log_probabilities), steps, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.maps.permute(1, 2, 0, 3), maps, atol=1e-5, rtol=0)


def test_beam_never_scores_below_greedy(network, features):
    greedy = run(network, features, Rules(START, None, max_length=5))
    beam = run(network, features, Rules(START, None, max_length=5, beams=4))
    assert all(b.score >= g.score - 1e-6 for b, g in zip(beam, greedy, strict=True))


def test_caption_that_never_ends_is_cut_and_marked(network, features):
    network.mlp.layers[-1].bias.data[END] = -1e4
    for beams in (1, 3):
        for found in run(network, features, Rules(START, END, max_length=4, beams=beams)):
            assert len(found.tokens) == 4
            assert not found.ended
            assert len(found.log_probabilities) == len(found.maps) == 4


def test_caption_may_be_empty(network, features):
    network.mlp.layers[-1].bias.data[END] = 1e4
    found = run(network, features, Rules(START, END, max_length=4))[0]
    assert found.tokens == []
    assert found.ended
    assert found.maps.shape == (0, 2, 2, 6)


def test_photos_of_one_batch_do_not_mix(network, features):
    rules = Rules(START, END, max_length=6, beams=3)
    together = run(network, features, rules)
    alone = [run(network, features[index : index + 1], rules)[0] for index in range(3)]
    assert [caption.tokens for caption in together] == [caption.tokens for caption in alone]


def test_fast_steps_changes_no_number(network, features):
    rules = Rules(START, END, max_length=6, beams=2)
    before = run(network, features, rules)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    fast_steps(network)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    after = run(network, features, rules)
    assert [caption.tokens for caption in after] == [caption.tokens for caption in before]
