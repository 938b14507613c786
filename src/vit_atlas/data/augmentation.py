"""Augmentation of training photos; its randomness belongs to the photo.

What happens to a photo is a pure function of (seed, view, image id), so that workers, batch size, order and resuming
change nothing. A view is one augmented version of every photo: the epoch's number, or the cached view's.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from vit_atlas.settings import AugmentSettings

_RESAMPLING = {
    Image.Resampling.NEAREST: InterpolationMode.NEAREST,
    Image.Resampling.BILINEAR: InterpolationMode.BILINEAR,
    Image.Resampling.BICUBIC: InterpolationMode.BICUBIC,
}


class PhotoAugmentation:
    """RandomResizedCrop, mirroring and a policy of colours and shapes, then the model's own normalisation.

    References:
        Cubuk et al. 2019, AutoAugment, https://arxiv.org/abs/1805.09501
        Cubuk et al. 2020, RandAugment, https://arxiv.org/abs/1909.13719
        Müller and Hutter 2021, TrivialAugment, https://arxiv.org/abs/2103.10158
        Szegedy et al. 2015, Going Deeper with Convolutions (the random resized crop), https://arxiv.org/abs/1409.4842
    """

    def __init__(
        self,
        settings: AugmentSettings,
        image_size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        resample: int,
        seed: int,
    ) -> None:
        """Prepare the transforms.

        Args:
            settings: what to do.
            image_size: (height, width) of the result in pixels.
            mean: per channel, of photos scaled to 0..1, as the model's processor has it.
            std: the same.
            resample: PIL's number of the resampling filter.
            seed: of all randomness.
        """
        self._seed = seed
        self.identity = [settings, list(image_size), list(mean), list(std), int(resample), seed]
        """What the pixels depend on beside the photo, its id and the view; plain values."""
        interpolation = _RESAMPLING.get(Image.Resampling(resample), InterpolationMode.BICUBIC)
        # Areas that a shape change uncovers get the mean colour, which the model sees as zero.
        fill = [round(255 * value) for value in mean]
        self._transform: Callable[[Tensor], Tensor] = v2.Compose(
            [
                _crop(settings, image_size, interpolation),
                v2.RandomHorizontalFlip(settings.horizontal_flip),
                *_policy(settings, fill),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(list(mean), list(std)),
            ]
        )

    def __call__(self, photo: Image.Image, image_id: str, view: int) -> Tensor:
        """Augmented photo, float32 of shape (3, height, width), normalised.

        Args:
            photo: RGB.
            image_id: names the photo; part of what its randomness is made from.
            view: which of the photo's augmented versions, from 0.
        """
        pixels = v2.functional.pil_to_tensor(photo)
        # Only the CPU's generator is used and put back: torch.manual_seed would also reseed a GPU.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(photo_seed(self._seed, view, image_id))
            return self._transform(pixels)


def photo_seed(seed: int, view: int, image_id: str) -> int:
    """Seed of one view of one photo, spread over 63 bits."""
    digest = hashlib.sha256(f"{seed}/{view}/{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _crop(settings: AugmentSettings, size: tuple[int, int], interpolation: InterpolationMode) -> v2.Transform:
    if settings.crop_scale == (1.0, 1.0):
        return v2.Resize(list(size), interpolation=interpolation, antialias=True)
    return v2.RandomResizedCrop(
        list(size),
        scale=settings.crop_scale,
        ratio=settings.crop_ratio,
        interpolation=interpolation,
        antialias=True,
    )


def _policy(settings: AugmentSettings, fill: list[int]) -> list[v2.Transform]:
    policies: dict[str, Callable[..., v2.Transform]] = {
        "autoaugment": v2.AutoAugment,
        "trivialaugment": v2.TrivialAugmentWide,
        "randaugment": v2.RandAugment,
    }
    if settings.policy not in policies:
        return []
    return [policies[settings.policy](interpolation=InterpolationMode.BILINEAR, fill=fill)]
