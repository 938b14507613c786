"""Photos as a training loop reads them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from vit_atlas.data.augmentation import PhotoAugmentation
from vit_atlas.data.manifest import Manifest
from vit_atlas.data.photos import open_photo

Draw = tuple[int, int]
"""(view, index): which augmented version of which photo. Travelling with the index, the epoch's number reaches every
worker process, and nothing has to be told when an epoch begins."""


REPEATED_VIEW = 1009
"""A photo that an epoch holds several times is augmented as in this many epochs later: a prime, so that cached views
are gone through as well."""


class AugmentedPhotos(Dataset):
    """Training photos; item (view, index) is ``pixel_values`` (3, height, width) and ``labels``."""

    def __init__(self, photos: Manifest, augmentation: PhotoAugmentation) -> None:
        self._paths = photos.paths
        self._ids = photos.image_ids
        self._hashes = photos.frame["sha256"].tolist()
        self._augmentation = augmentation
        self.labels = photos.labels.tolist()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        view, index = draw
        photo = open_photo(self._paths[index], sha256=self._hashes[index])
        pixels = self._augmentation(photo, self._ids[index], view)
        return {"pixel_values": pixels, "labels": self.labels[index]}

    def identity(self, view: int) -> dict[str, Any]:
        """Tell what the pixels of a view depend on, beside the code."""
        augmentation = {"ids": self._ids, "view": view, "settings": self._augmentation.identity}
        return {"photos": self._hashes, "augmentation": augmentation}


class PlainPhotos(Dataset):
    """Photos as the model's processor makes them; item index is ``pixel_values`` and ``labels``."""

    def __init__(self, photos: Manifest, processor: Any) -> None:
        self._paths = photos.paths
        self._hashes = photos.frame["sha256"].tolist()
        self._processor = processor
        self.labels = photos.labels.tolist()

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        photo = open_photo(self._paths[index], sha256=self._hashes[index])
        pixels = self._processor(images=photo, return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels, "labels": self.labels[index]}

    def identity(self) -> dict[str, Any]:
        """Tell what the pixels depend on, beside the code."""
        return {"photos": self._hashes, "processor": self._processor.to_json_string()}


class CachedTokens(Dataset):
    """The trunk's output for each view of each photo; later epochs go round the views again.

    Items are as those of the photos, with hidden states (tokens, dim) in the place of pixels.
    """

    def __init__(self, tokens: Sequence[np.ndarray], labels: list[int]) -> None:
        """Wrap ``tokens``: for each view an array (photos, tokens, dim)."""
        self._tokens = tokens
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw: Draw | int) -> dict[str, Any]:
        view, index = draw if isinstance(draw, tuple) else (0, draw)
        hidden = np.array(self._tokens[view % len(self._tokens)][index])
        return {"pixel_values": torch.from_numpy(hidden), "labels": self.labels[index]}


class EpochSampler(Sampler[Draw]):
    """The training photos of an epoch in an order that is a function of (seed, epoch).

    Every photo once; or, with the labels of a balanced sampling, as many photos of every class, in all as many as there
    are: those of rare classes several times, each time in another augmented view.
    """

    def __init__(self, length: int, seed: int, balanced: Sequence[int] | None = None) -> None:
        """Order ``length`` photos; ``balanced`` are their labels where classes are to be drawn alike."""
        self._length = length
        self._seed = seed
        self._labels = None if balanced is None else np.asarray(balanced)
        self.epoch = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Draw]:
        chance = np.random.default_rng([self._seed, self.epoch])
        if self._labels is None:
            return iter([(self.epoch, int(index)) for index in chance.permutation(self._length)])
        classes = chance.permutation(np.unique(self._labels))
        draws: list[Draw] = []
        for place, label in enumerate(classes):
            photos = np.flatnonzero(self._labels == label)
            wanted = self._length // len(classes) + (place < self._length % len(classes))
            for repeat in range(-(-wanted // len(photos))):
                some = chance.permutation(photos)[: wanted - repeat * len(photos)]
                draws += [(self.epoch + repeat * REPEATED_VIEW, int(index)) for index in some]
        return iter([draws[place] for place in chance.permutation(len(draws))])
