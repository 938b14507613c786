"""Near pairs are found without comparing all with all, in the same way in any order."""

import random

import numpy as np
from PIL import Image

from tests.data.conftest import picture
from vit_atlas.data.perceptual import near_pairs, perceptual_hash


def changed(text: str, bits: int, rng: random.Random) -> str:
    """``text`` with that many of its first 64 bits changed."""
    value = int(text, 16)
    for place in rng.sample(range(64), bits):
        value ^= 1 << (320 - 1 - place)
    return f"{value:080x}"


def test_every_pair_within_the_distance_is_linked_and_no_other() -> None:
    rng = random.Random(0)
    alone = [rng.randbytes(40).hex() for _ in range(2000)]
    for distance in (0, 3, 6, 8):
        near = [changed(alone[place], distance, rng) for place in range(100)]
        far = [changed(alone[place], distance + 1, rng) for place in range(100, 200)]
        pairs = near_pairs([*alone, *near, *far], distance)
        assert pairs == [(place, 2000 + place, distance) for place in range(100)]


def test_the_finer_hash_must_agree_too() -> None:
    rng = random.Random(0)
    one = rng.randbytes(40).hex()
    assert near_pairs([one, one[:16] + rng.randbytes(32).hex()], 6) == []


def test_a_burst_is_one_group_with_few_pairs_in_any_order() -> None:
    rng = random.Random(0)
    start = rng.randbytes(40).hex()
    burst = [start]
    for _ in range(3000):
        burst.append(changed(burst[-1], 1, rng))
    pairs = near_pairs(burst, 6)
    assert len(pairs) == 3000
    order = list(range(len(burst)))
    rng.shuffle(order)
    again = {tuple(sorted((order[one], order[other]))) for one, other, _ in near_pairs([burst[i] for i in order], 6)}
    assert {place for pair in again for place in pair} == set(order)


def test_no_photos_no_pairs() -> None:
    assert near_pairs([], 6) == near_pairs([random.Random(0).randbytes(40).hex()], 6) == []


def test_a_smaller_and_a_recoloured_photo_are_near_and_another_is_not() -> None:
    photo = picture("a", (400, 300))
    small = photo.resize((200, 150))
    grey = photo.convert("L").convert("RGB")
    hashes = [perceptual_hash(image) for image in (photo, small, grey, picture("b", (400, 300)))]
    assert {place for pair in near_pairs(hashes, 6) for place in pair[:2]} == {0, 1, 2}


def test_flat_photos_have_no_hash() -> None:
    noise = np.random.default_rng(0).integers(98, 102, (300, 400, 3), dtype=np.uint8)
    assert perceptual_hash(Image.fromarray(noise)) == perceptual_hash(Image.new("RGB", (9, 9), "red")) == ""
