"""What the atlas page needs of the drawn captions: every word with its maps, packed.

``maps.npz`` holds, for the photo with index i, W words and L decoder layers, ``drawn_i`` (W, rows, columns), the map
that the strips show, and ``layers_i`` (W, L, rows, columns), mean over heads, both in the codes of
:func:`vit_atlas.io.arrays.pack_maps` with their peaks under ``<name>_peaks``; maps sum to 1. ``captions.json``
holds the words, and ``photos/`` thumbnails.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vit_atlas.captioning.dataset import NounMask
from vit_atlas.captioning.measure.word_maps import View, noun_masks
from vit_atlas.captioning.model.words import Caption
from vit_atlas.data.photos import open_photo
from vit_atlas.io.arrays import pack_maps, write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.page_data.thumbnails import outline, save_thumbnail


class Pictured(Protocol):
    """A photo that was captioned, and what people know of it."""

    @property
    def name(self) -> str:
        """Its name under images/."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def captions(self) -> tuple[str, ...]:
        """What people wrote."""

    @property
    def things(self) -> tuple[NounMask, ...]:
        """Masks of nouns."""


def save_words(
    folder: Path, subjects: Sequence[Pictured], stems: Sequence[str], kept: dict[str, Caption], view: View
) -> None:
    """Write the captions ``kept`` of ``subjects`` into ``folder``; ``stems`` name their thumbnails.

    Raises:
        AtlasError: a photo or a mask cannot be read.
    """
    arrays: dict[str, np.ndarray] = {}
    photos: list[dict[str, Any]] = []
    for subject, stem in zip(subjects, stems, strict=True):
        caption = kept[subject.name]
        photo = open_photo(subject.path)
        for name, maps in _maps(caption, view).items():
            key = f"{name}_{len(photos)}"
            arrays[key], arrays[f"{key}_peaks"] = pack_maps(maps)
        save_thumbnail(photo, folder / "photos" / f"{stem}.jpg")
        photos.append(_entry(subject, photo, stem, caption))
    write_arrays(folder / "maps.npz", arrays)
    write_json(folder / "captions.json", {"photos": photos, "layer": view.layer, "head": view.head})


def _maps(caption: Caption, view: View) -> dict[str, np.ndarray]:
    if not caption.words:
        return {}
    layers = range(len(caption.words[0].maps))
    return {
        "drawn": np.stack([view.of(word) for word in caption.words]),
        "layers": np.stack([np.stack([word.map(layer) for layer in layers]) for word in caption.words]),
    }


def _entry(subject: Pictured, photo: Image.Image, stem: str, caption: Caption) -> dict[str, Any]:
    masks = noun_masks(subject.things, (photo.height, photo.width), subject.path)
    return {
        "name": subject.name,
        "width": photo.width,
        "height": photo.height,
        "photo": f"photos/{stem}.jpg",
        "words": [{"text": word.text, "probability": math.exp(word.log_probability)} for word in caption.words],
        "ended": caption.ended,
        "references": list(subject.captions),
        "outlines": {noun: outline(mask) for noun, mask in masks.items()},
    }
