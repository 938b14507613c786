import numpy as np
import torch

from vit_atlas.training.datasets import CachedTokens, EpochSampler


def test_every_epoch_has_every_photo_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(20, seed=1)
    orders = []
    for epoch in range(3):
        sampler.epoch = epoch
        draws = list(sampler)
        assert {view for view, _ in draws} == {epoch}
        orders.append([index for _, index in draws])
        assert sorted(orders[-1]) == list(range(20))
    assert orders[0] != orders[1] != orders[2]


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first, second, other = EpochSampler(20, 1), EpochSampler(20, 1), EpochSampler(20, 2)
    list(first)
    assert list(first) == list(second)
    assert list(first) != list(other)


def test_epochs_go_round_the_cached_views() -> None:
    tokens = np.arange(2 * 3 * 4 * 5, dtype=np.float16).reshape(2, 3, 4, 5)
    cached = CachedTokens(tokens, [0, 1, 0])
    assert len(cached) == 3
    for epoch in range(4):
        item = cached[epoch, 1]
        assert torch.equal(item["pixel_values"], torch.from_numpy(tokens[epoch % 2, 1]))
        assert item["labels"] == 1
    assert torch.equal(cached[2]["pixel_values"], torch.from_numpy(tokens[0, 2]))


def test_balanced_sampling_draws_every_class_alike_and_repeats_in_other_views() -> None:
    labels = [0] * 16 + [1] * 3 + [2]
    sampler = EpochSampler(20, seed=0, balanced=labels)
    epochs = []
    for epoch in range(3):
        sampler.epoch = epoch
        draws = list(sampler)
        assert len(draws) == len(sampler) == 20
        assert len(set(draws)) == 20, "no photo twice in the same view"
        assert sorted(np.bincount([labels[index] for _, index in draws])) == [6, 7, 7]
        assert {index for _, index in draws} >= {16, 17, 18, 19}
        epochs.append(draws)
    sampler.epoch = 1
    assert list(sampler) == epochs[1]
