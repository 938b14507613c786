"""What the atlas page needs of the drawn captions: every word with its maps, packed.

``maps.npz`` holds, for the photo with index i, W words and L decoder layers, ``drawn_i`` (W, rows, columns), the map
that the strips show, and ``layers_i`` (W, L, rows, columns), mean over heads, both in the codes of
:func:`vit_atlas.io.arrays.pack_maps` with their peaks under ``<name>_peaks``; maps sum to 1. ``captions.json``
holds the words, and ``photos/`` thumbnails.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vit_atlas.attention.scores import usable
from vit_atlas.captioning.dataset import CaptionedPhoto
from vit_atlas.captioning.measure.describe import Captions
from vit_atlas.captioning.measure.word_maps import View, noun_masks, tell
from vit_atlas.captioning.model.words import Caption
from vit_atlas.data.photos import open_photo
from vit_atlas.io.arrays import pack_maps, write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.page_data.thumbnails import outline, save_thumbnail


def save_words(folder: Path, captions: Captions, stems: Sequence[str], captioner: str) -> None:
    """Write the drawn captions with their photos into ``folder``; ``stems`` name the thumbnails.

    Raises:
        AtlasError: a photo or a mask cannot be read.
    """
    arrays: dict[str, np.ndarray] = {}
    photos: list[dict[str, Any]] = []
    for (photo, caption), stem in zip(captions.drawn, stems, strict=True):
        pixels = open_photo(photo.path)
        for name, maps in _maps(caption, captions.view).items():
            key = f"{name}_{len(photos)}"
            arrays[key], arrays[f"{key}_peaks"] = pack_maps(maps)
        save_thumbnail(pixels, folder / "photos" / f"{stem}.jpg")
        photos.append(_entry(photo, pixels, stem, caption, captions.view))
    write_arrays(folder / "maps.npz", arrays)
    write_json(folder / "captions.json", {"photos": photos, "view": str(captions.view), "captioner": captioner})


def _maps(caption: Caption, view: View) -> dict[str, np.ndarray]:
    if not caption.words:
        return {}
    layers = range(len(caption.words[0].maps))
    return {
        "drawn": np.stack([view.of(word) for word in caption.words]),
        "layers": np.stack([np.stack([word.map(layer) for layer in layers]) for word in caption.words]),
    }


def _entry(photo: CaptionedPhoto, pixels: Image.Image, stem: str, caption: Caption, view: View) -> dict[str, Any]:
    masks = noun_masks(photo.things, (pixels.height, pixels.width))[0]
    scored = {noun for noun, mask in masks.items() if usable(mask)}
    return {
        "name": photo.name,
        "width": pixels.width,
        "height": pixels.height,
        "photo": f"photos/{stem}.jpg",
        "words": [
            {"text": word.text, "probability": math.exp(word.log_probability)}
            | ({"on_mask": tell(view.of(word), masks[word.text])} if word.text in scored else {})
            for word in caption.words
        ],
        "ended": caption.ended,
        "references": list(photo.captions),
        "outlines": {noun: outline(mask) for noun, mask in masks.items()},
    }
