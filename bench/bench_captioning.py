"""Decoding with maps, CATR v3's architecture: our decoder against the whole network run again for every token.

    python bench/bench_captioning.py

Prints seconds a token for a photo of 224x299 and a caption of 16 tokens, each way timed in the same run, medians of
``--repeat``:

- whole: the network over the photo and the 128-place caption for every token, as CATR's own loop does;
- one photo: encoder once, keys and values kept, one photo at a time;
- batch: the same for ``--batch`` photos together, time divided by photos.

Weights are random: the arithmetic is the same, and nothing is downloaded. The tokens of all ways are compared first.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor

from vit_atlas.captioning.model.decoding import Decoded, NetworkDecoder, Rules, fast_steps, search
from vit_atlas.captioning.published.catr import Catr, fused_backbone

START = 101


@torch.inference_mode()
def whole_network(network: Catr, pixels: Tensor, length: int) -> list[int]:
    """Greedy tokens, by running backbone, encoder and decoder from the start for each."""
    tokens = torch.zeros(1, network.shape.positions, dtype=torch.long)
    padding = torch.ones(1, network.shape.positions, dtype=torch.bool)
    tokens[0, 0], padding[0, 0] = START, False
    for index in range(length):
        features, _ = network.features(pixels)
        logits, _ = network(features, None, tokens, padding, record=True)
        tokens[0, index + 1], padding[0, index + 1] = logits[0, index].argmax(), False
    return tokens[0, 1 : length + 1].tolist()


@torch.inference_mode()
def cached(network: Catr, pixels: Tensor, length: int) -> list[Decoded]:
    """Greedy captions with their maps, encoder once."""
    memory = network.encode(network.features(pixels)[0])
    return search(NetworkDecoder(network, memory), len(pixels), Rules(START, None, max_length=length))


def median_times(ways: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each way over rounds in which they take turns."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for taken, work in zip(times, ways, strict=True):
            begin = time.perf_counter()
            work()
            taken.append(time.perf_counter() - begin)
    return [median(taken) for taken in times]


def main() -> None:
    """Time the three ways and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=12)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network, ours = Catr().eval(), Catr().eval()
    ours.load_state_dict(network.state_dict())
    ours.backbone = torch.nn.Sequential(fused_backbone(ours.backbone))
    fast_steps(ours)
    pixels = torch.randn(arguments.batch, 3, 224, 299)
    reference = whole_network(network, pixels[:1], arguments.tokens)
    if cached(ours, pixels[:1], arguments.tokens)[0].tokens != reference:
        raise SystemExit("the two ways wrote different captions")
    cached(ours, pixels, arguments.tokens)
    ways = (
        lambda: whole_network(network, pixels[:1], arguments.tokens),
        lambda: cached(ours, pixels[:1], arguments.tokens),
        lambda: cached(ours, pixels, arguments.tokens),
    )
    whole, one, batch = median_times(ways, arguments.repeat)
    batch /= arguments.batch
    for name, seconds in [("whole network", whole), ("one photo", one), (f"batch of {arguments.batch}", batch)]:
        print(f"{name:14} {seconds / arguments.tokens * 1e3:7.1f} ms a token   {whole / seconds:5.1f}x")


if __name__ == "__main__":
    main()
