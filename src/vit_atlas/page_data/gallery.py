"""What the page needs to show any photo of a class, a confusion or a bin: one pass over a bounded choice of photos.

``gallery.csv`` has one row a photo: its guess and confidence, the share of the look that lies on the object, its place
on the two maps of features, and the number of its thumbnail, -1 where it has none. ``gallery.npz`` holds for T
thumbnails ``jpegs`` (bytes of all of them behind each other), ``ends`` (T,) and ``maps`` (T, rows, columns), the
attention of what the head reads in the last layer, mean over heads, in the codes of
:func:`vit_atlas.io.arrays.pack_maps`.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional

from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.scores import comparison_size, resize_mask, score_photo, usable
from vit_atlas.data.manifest import Manifest, Photo
from vit_atlas.io.arrays import pack_maps, write_arrays
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.trunk import head_of
from vit_atlas.paths import GALLERY
from vit_atlas.processes import is_first, shared
from vit_atlas.settings import GallerySettings

Array = np.ndarray

LONGEST = 128
"""Pixels of a thumbnail's longer side."""
FINEST = 24
"""Maps have at most this many patches a side; finer grids are averaged."""
BATCH = 16
COMPONENTS = 50
"""Principal components that t-SNE starts from."""


@dataclass(frozen=True)
class Look:
    """What one pass tells of one photo."""

    guess: int
    """A label."""
    confidence: float
    """Probability of the guess."""
    features: Array
    """(width,) what the model's head reads."""
    map: Array
    """(rows, columns) attention of what the head reads."""
    inside: float
    """Share of the map on the object; not-a-number without a usable mask."""
    jpeg: bytes
    """The thumbnail."""


def choose(manifest: Manifest, predictions: pd.DataFrame, settings: GallerySettings) -> Manifest:
    """Choose the photos: every confusion has its turn, wrong guesses before right ones, the most confident first.

    Of the other splits, random photos of one class after the other take at least half of the room where they need it.

    Args:
        manifest: all photos.
        predictions: build/predictions.csv, for the test photos.
        settings: how many photos, and the seed.
    """
    tested = predictions.sort_values(["confidence", "image_id"], ascending=[False, True], kind="stable")
    tested = tested.assign(turn=tested.groupby(["class_name", "predicted_name"]).cumcount())
    tested = tested.sort_values(["turn", "correct"], kind="stable")
    others = manifest.frame[manifest.frame["split"] != "test"].sample(frac=1, random_state=settings.seed)
    others = others.assign(turn=others.groupby(["split", "class_name"]).cumcount()).sort_values("turn", kind="stable")
    room = max(settings.photos - len(others), settings.photos - settings.photos // 2)
    chosen = tested["image_id"].head(min(room, settings.photos)).tolist()
    return manifest.find([*chosen, *others["image_id"].head(settings.photos - len(chosen))])


def write_gallery(classifier: Classifier, photos: Manifest, settings: GallerySettings) -> None:
    """Pass ``photos`` through the model once and write build/gallery, as a whole; of several processes, the first does.

    Raises:
        AtlasError: a photo or mask cannot be opened, the model's attention cannot be recorded, or the disk is full.
    """
    names = classifier.id2label
    rows: list[dict[str, object]] = []
    features, jpegs, maps = list[Array](), list[Array](), list[Array]()
    kept: dict[tuple[bool, str, str], int] = {}
    found = list(looks(classifier, photos))
    if not is_first():
        return
    for photo, look in zip(photos, found, strict=True):
        guess = names[look.guess]
        cell = (photo.split == "test", photo.class_name, guess)
        kept[cell] = kept.get(cell, 0) + 1
        shown = kept[cell] <= settings.thumbnails
        rows.append(
            {
                "image_id": photo.image_id,
                "split": photo.split,
                "class_name": photo.class_name,
                "predicted_name": guess,
                "confidence": look.confidence,
                "inside": look.inside,
                "thumbnail": len(jpegs) if shown else -1,
            }
        )
        features.append(look.features)
        if shown:
            jpegs.append(np.frombuffer(look.jpeg, np.uint8))
            maps.append(look.map)
    places = {
        f"{name}_{axis}": values[:, index]
        for name, values in project(np.stack(features), settings.seed).items()
        for index, axis in enumerate("xy")
    }
    table = pd.DataFrame(rows).assign(**places).round(4)
    with atomic_folder(GALLERY) as folder:
        write_csv(folder / "gallery.csv", table)
        arrays = {
            "jpegs": np.concatenate(jpegs),
            "ends": np.cumsum([len(one) for one in jpegs]),
            "maps": pack_maps(np.stack(maps))[0],
        }
        write_arrays(folder / "gallery.npz", arrays)


def looks(classifier: Classifier, photos: Manifest) -> Iterator[Look]:
    """Yield what one pass tells of each photo, in their order."""
    classifier.to_device()
    yield from chain.from_iterable(shared(lambda some: list(_looks(classifier, some)), list(photos), BATCH, "Gallery"))


def _looks(classifier: Classifier, photos: Sequence[Photo]) -> Iterator[Look]:
    images = [photo.open() for photo in photos]
    # The last call is that of these photos: how the head reads may be found out with one of its own before.
    caught: list[torch.Tensor] = []
    hook = head_of(classifier.model).register_forward_pre_hook(lambda _, arguments: caught.append(arguments[0]))
    try:
        trace = run_pass(classifier, classifier.pixel_values(images), gradients=False, layers=False)
    finally:
        hook.remove()
    shares = trace.logits.double().softmax(dim=-1).cpu().numpy()
    maps = trace.read_rows(-1).mean(dim=1).float().cpu()
    small = functional.adaptive_avg_pool2d(maps, (min(maps.shape[1], FINEST), min(maps.shape[2], FINEST)))
    for place, (photo, image) in enumerate(zip(photos, images, strict=True)):
        yield Look(
            guess=int(shares[place].argmax()),
            confidence=float(shares[place].max()),
            features=caught[-1][place].float().flatten().cpu().numpy(),
            map=small[place].numpy(),
            inside=_inside(photo, maps[place].numpy(), comparison_size(classifier.image_size)),
            jpeg=_thumbnail(image),
        )


def _inside(photo: Photo, look: Array, size: tuple[int, int]) -> float:
    mask = resize_mask(photo.open_mask(), size) if photo.mask else None
    return float(score_photo(look[None], mask).mass[0]) if mask is not None and usable(mask) else float("nan")


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return buffer.getvalue()


def project(features: Array, seed: int) -> dict[str, Array]:
    """Lay ``features`` (photos, width) out in two dimensions.

    Returns:
        ``pca`` and ``tsne``, each (photos, 2) in the square from 0 to 1, both axes at one scale.

    References:
        van der Maaten and Hinton 2008, Visualizing Data using t-SNE
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, width = features.shape
    most = min(COMPONENTS, count, width)
    # Copies of one photo, and so no differences at all, lie on one point.
    components = (
        PCA(most, svd_solver="full").fit_transform(features) if np.ptp(features, axis=0).any() else features[:, :1] * 0
    )
    flat = np.pad(components, ((0, 0), (0, 2)))[:, :2]
    spread = flat
    if count > 5 and flat.any():
        # From the places of the PCA: a random start would put equal results elsewhere.
        start = (flat / flat[:, 0].std() * 1e-4).astype(np.float32)
        spread = TSNE(init=start, perplexity=min(30, (count - 1) / 3), random_state=seed).fit_transform(components)
    return {"pca": _to_square(flat), "tsne": _to_square(spread)}


def _to_square(places: Array) -> Array:
    low, high = places.min(axis=0), places.max(axis=0)
    return 0.5 + (places - (low + high) / 2) / (float((high - low).max()) or 1.0)
