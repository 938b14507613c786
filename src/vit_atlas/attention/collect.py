"""Maps of many photos by all methods, with one pass a photo shared between the methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vit_atlas.attention.artefacts import patch_norms
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import needing
from vit_atlas.attention.passes import Pass, run_pass
from vit_atlas.attention.scores import comparison_size, resize_mask, usable
from vit_atlas.data.manifest import Manifest, Photo
from vit_atlas.models.classifier import Classifier
from vit_atlas.processes import shared

Array = np.ndarray

TOKENS = 1100
"""Tokens a pass: four photos of 224 pixels and patches of 14. Relevance methods keep the activations of them all."""


@dataclass(frozen=True)
class MaskedPhotos:
    """Photos whose mask can tell maps apart."""

    photos: Manifest
    masks: list[Array]
    """Their masks at the size for comparison (height, width): 0 background, 1 object, 255 unlabelled."""
    excluded: int
    """Photos left out because their mask is empty or covers everything."""
    too_small: int
    """Photos with a mask left out because they are narrower or lower than one patch."""


@dataclass(frozen=True)
class PhotoMaps:
    """Maps of P photos, and what else their passes tell."""

    maps: dict[str, Array]
    """Method -> (P, rows, columns)."""
    heads: Array
    """(P, heads, rows, columns) attention of what the head reads in every head of the asked layer."""
    norms: Array
    """(P, layers, rows, columns) norms of the patch tokens after every block."""
    predictions: Array
    """(P,) the model's guess, a label."""

    def take(self, places: Array) -> "PhotoMaps":
        """Those of some of the photos."""
        maps = {name: values[places] for name, values in self.maps.items()}
        return PhotoMaps(maps, self.heads[places], self.norms[places], self.predictions[places])


def with_masks(manifest: Manifest, split: str, most: int, classifier: Classifier, seed: int) -> MaskedPhotos:
    """Choose a random sample of at most ``most`` photos of ``split`` that have a mask, and open their masks.

    Photos narrower or lower than one patch are left out and counted, and so are masks that are empty or full.

    Raises:
        AtlasError: a mask cannot be opened.
    """
    marked = manifest.split(split).with_masks()
    patch = classifier.layout.patch
    rows = marked.where([photo.holds_patch(patch) for photo in marked]).frame.sort_values("image_id", kind="stable")
    too_small = len(marked) - len(rows)
    if len(rows) > most:
        rows = rows.sample(n=most, random_state=seed).sort_values("image_id", kind="stable")
    photos = Manifest(rows)
    size = comparison_size(classifier.image_size)
    masks = [resize_mask(photo.open_mask(), size) for photo in photos]
    good = [usable(mask) for mask in masks]
    kept = [mask for mask, keep in zip(masks, good, strict=True) if keep]
    return MaskedPhotos(photos.where(good), kept, len(photos) - sum(good), too_small)


def collect(
    classifier: Classifier,
    photos: Manifest,
    names: Sequence[str],
    options: MapOptions,
    progress: str,
    targets: Array | None = None,
    change: Callable[[Tensor], Tensor] | None = None,
) -> PhotoMaps:
    """Make the maps of ``names`` for all ``photos``.

    Args:
        classifier: the model.
        photos: to draw maps of.
        names: methods.
        options: see :func:`vit_atlas.attention.maps.make_maps`.
        progress: name of the progress bar.
        targets: classes (photos,) that class-specific maps explain; None explains each photo's most likely one.
        change: what is done to the pixels (B, 3, height, width) first.

    Raises:
        AtlasError: a photo cannot be opened, or the model's attention cannot be recorded.
    """
    device = next(classifier.model.parameters()).device
    chosen = [None] * len(photos) if targets is None else targets.tolist()

    def made(some: Sequence[tuple[Photo, int | None]]) -> PhotoMaps:
        pixels = classifier.pixel_values([photo.open() for photo, _ in some])
        wanted = None if targets is None else torch.tensor([target for _, target in some], device=device)
        trace = run_pass(classifier, change(pixels) if change else pixels, wanted, needing(names, "gradients"))
        return maps_of_pass(trace, [photo.image_id for photo, _ in some], names, options)

    items = list(zip(photos, chosen, strict=True))
    parts = list(shared(made, items, max(1, TOKENS // classifier.layout.tokens), progress))
    return PhotoMaps(
        maps={name: np.concatenate([part.maps[name] for part in parts]) for name in parts[0].maps},
        heads=np.concatenate([part.heads for part in parts]),
        norms=np.concatenate([part.norms for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
    )


def maps_of_pass(trace: Pass, image_ids: Sequence[str], names: Sequence[str], options: MapOptions) -> PhotoMaps:
    """Maps, heads, norms and guesses of one pass."""
    return PhotoMaps(
        maps=make_maps(trace, image_ids, names, options),
        heads=trace.read_rows(options.layer).detach().cpu().numpy(),
        norms=patch_norms(trace),
        predictions=trace.logits.argmax(dim=-1).cpu().numpy(),
    )
