"""Maps of many photos by all methods, with one pass a photo shared between the methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from vit_atlas.attention.artefacts import patch_norms
from vit_atlas.attention.maps import MapOptions, make_maps, needs_gradients
from vit_atlas.attention.passes import Look, look
from vit_atlas.attention.photos import large_enough
from vit_atlas.attention.scores import comparison_size, resize_mask, usable
from vit_atlas.data.photos import open_mask, open_photo
from vit_atlas.models.classifier import Classifier

Array = np.ndarray

TOKENS = 1100
"""Tokens a pass: four photos of 224 pixels and patches of 14. Relevance methods keep the activations of them all."""


@dataclass(frozen=True)
class Masked:
    """Photos whose mask can tell maps apart."""

    photos: pd.DataFrame
    """Rows of the manifest."""
    masks: list[Array]
    """Their masks at the size for comparison (height, width): 0 background, 1 object, 255 unlabelled."""
    excluded: int
    """Photos left out because their mask is empty or covers everything."""
    too_small: int
    """Photos with a mask left out because they are narrower or lower than one patch."""


@dataclass(frozen=True)
class Collected:
    """Maps of P photos."""

    maps: dict[str, Array]
    """Method -> (P, rows, columns)."""
    heads: Array
    """(P, heads, rows, columns) class-token attention in every head of the asked layer."""
    norms: Array
    """(P, layers, rows, columns) norms of the patch tokens after every block."""
    predictions: Array
    """(P,) the model's guess, a label."""


def with_masks(manifest: pd.DataFrame, split: str, most: int, classifier: Classifier, seed: int) -> Masked:
    """Choose at most ``most`` photos of ``split`` that have a mask, by lot, and open their masks.

    Photos narrower or lower than one patch are left out and counted, and so are masks that are empty or full.
    """
    marked = manifest[(manifest["split"] == split) & (manifest["mask"] != "")]
    rows = marked[large_enough(marked, classifier.layout.patch)]
    too_small = len(marked) - len(rows)
    rows = rows.sort_values("image_id", kind="stable")
    if len(rows) > most:
        rows = rows.sample(n=most, random_state=seed).sort_values("image_id", kind="stable")
    size = comparison_size(classifier.image_size)
    masks = [
        resize_mask(open_mask(path, kind), size) for path, kind in zip(rows["mask"], rows["mask_kind"], strict=True)
    ]
    good = [usable(mask) for mask in masks]
    kept = [mask for mask, keep in zip(masks, good, strict=True) if keep]
    return Masked(rows[np.array(good, bool)], kept, len(rows) - sum(good), too_small)


def collect(
    classifier: Classifier, photos: pd.DataFrame, names: Sequence[str], options: MapOptions, what: str
) -> Collected:
    """Make the maps of ``names`` for all ``photos`` (rows of the manifest); ``what`` names the progress bar.

    Raises:
        AtlasError: a photo cannot be opened, or the model's attention cannot be recorded.
    """
    parts: list[Collected] = []
    batch = max(1, TOKENS // classifier.layout.tokens)
    with tqdm(total=len(photos), desc=what, unit="photo") as bar:
        for start in range(0, len(photos), batch):
            rows = photos.iloc[start : start + batch]
            pixels = classifier.pixel_values([open_photo(path) for path in rows["path"]])
            seen = look(classifier, pixels, gradients=needs_gradients(names))
            parts.append(from_look(seen, rows["image_id"].tolist(), names, options))
            bar.update(len(rows))
    return Collected(
        maps={name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
        heads=np.concatenate([part.heads for part in parts]),
        norms=np.concatenate([part.norms for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
    )


def from_look(seen: Look, image_ids: Sequence[str], names: Sequence[str], options: MapOptions) -> Collected:
    """Maps, heads, norms and guesses of one pass."""
    return Collected(
        maps=make_maps(seen, image_ids, names, options),
        heads=seen.class_rows(options.layer).detach().cpu().numpy(),
        norms=patch_norms(seen),
        predictions=seen.logits.argmax(dim=-1).cpu().numpy(),
    )
