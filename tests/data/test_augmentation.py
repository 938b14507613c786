from itertools import product
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import ViTImageProcessor

from tests.tiny_settings import tiny
from vit_atlas.data.augmentation import PhotoAugmentation, photo_seed
from vit_atlas.settings import AugmentSettings

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
PLAIN = tiny(AugmentSettings, policy="none", crop_scale=(1.0, 1.0), horizontal_flip=0.0)


def augmentation(settings: AugmentSettings, seed: int = 0, size: tuple[int, int] = (32, 48)) -> PhotoAugmentation:
    return PhotoAugmentation(settings, size, MEAN, STD, Image.Resampling.BICUBIC, seed)


def photo(number: int = 0, width: int = 70, height: int = 50) -> Image.Image:
    generator = torch.Generator().manual_seed(number)
    small = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8, generator=generator)
    return Image.fromarray(small.numpy()).resize((width, height))


class Views(Dataset):
    def __init__(self, settings: AugmentSettings) -> None:
        self._augment = augmentation(settings)
        self._photos = [photo(number) for number in range(6)]

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, self._augment(self._photos[index], f"{index}.jpg", 2)


def gathered(**options: Any) -> dict[int, Tensor]:
    loader = DataLoader(Views(tiny(AugmentSettings)), **options)
    return {int(index): view for indices, views in loader for index, view in zip(indices, views, strict=True)}


def test_workers_batch_size_and_order_change_nothing() -> None:
    expected = gathered(batch_size=1)
    order = [4, 0, 5, 2, 1, 3]
    for options in ({"batch_size": 4}, {"batch_size": 2, "num_workers": 2}, {"batch_size": 3, "sampler": order}):
        actual = gathered(**options)
        assert all(torch.equal(actual[index], expected[index]) for index in range(6))


def test_a_view_is_a_function_of_seed_view_and_photo() -> None:
    settings = tiny(AugmentSettings)
    views = {
        (seed, view, name): augmentation(settings, seed)(photo(), name, view)
        for seed, view, name in product((0, 1), (0, 1), ("a.jpg", "b.jpg"))
    }
    assert torch.equal(augmentation(settings, 1)(photo(), "b.jpg", 0), views[1, 0, "b.jpg"])
    different = list(views.values())
    for first in range(len(different)):
        for second in range(first):
            assert not torch.equal(different[first], different[second])


def test_other_randomness_is_neither_used_nor_disturbed() -> None:
    augment = augmentation(tiny(AugmentSettings))
    torch.manual_seed(3)
    first = augment(photo(), "a.jpg", 0)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(4)
    assert torch.equal(augment(photo(), "a.jpg", 0), first)


@pytest.mark.parametrize("policy", ["autoaugment", "trivialaugment", "randaugment", "none"])
def test_every_policy_gives_the_models_input(policy: Any) -> None:
    settings = tiny(AugmentSettings, policy=policy)
    view = augmentation(settings)(photo(), "a.jpg", 0)
    assert view.shape == (3, 32, 48)
    assert view.dtype == torch.float32


def test_everything_off_is_what_the_processor_does() -> None:
    processor = ViTImageProcessor(size={"height": 32, "width": 48}, image_mean=MEAN, image_std=STD, resample=3)
    expected = processor(images=photo(), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(augmentation(PLAIN)(photo(), "a.jpg", 0), expected)


def test_mirroring() -> None:
    plain = augmentation(PLAIN)(photo(), "a.jpg", 0)
    mirrors = augmentation(PLAIN.model_copy(update={"horizontal_flip": 0.5}))
    views = [mirrors(photo(), "a.jpg", view) for view in range(20)]
    mirrored = sum(torch.equal(view, plain.flip(-1)) for view in views)
    assert mirrored + sum(torch.equal(view, plain) for view in views) == 20
    assert 3 < mirrored < 17


def test_crops_keep_to_their_scale() -> None:
    white = Image.new("RGB", (64, 64), "white")
    white.paste((0, 0, 0), (0, 0, 32, 64))
    settings = tiny(AugmentSettings, policy="none", crop_scale=(0.05, 0.05), crop_ratio=(1.0, 1.0), horizontal_flip=0.0)
    augment = augmentation(settings, size=(16, 16))
    uniform = [view.std(dim=(1, 2)).max() < 0.05 for view in (augment(white, "a.jpg", number) for number in range(30))]
    # A crop of a twentieth of the area seldom meets the edge between black and white.
    assert sum(uniform) > 15


def test_seeds_are_spread() -> None:
    seeds = {photo_seed(seed, view, name) for seed, view, name in product(range(5), range(5), ("a", "b", "1/a"))}
    assert len(seeds) == 75
    assert all(0 <= seed < 2**63 for seed in seeds)
