"""The pictures of chosen photos: which, what the model says of each, and their maps drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from vit_atlas.attention.look import Look, look
from vit_atlas.attention.photos import safe_stems
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.figures.attention import Guess, draw_photo
from vit_atlas.figures.style import save
from vit_atlas.models.loading import Classifier


@dataclass(frozen=True)
class Chosen:
    """A photo to draw."""

    image_id: str
    """Its row in the manifest."""
    stem: str
    """File name of its pictures, without extension."""
    photo: Image.Image
    """RGB, upright."""
    guess: Guess
    """What the model says of it."""
    seen: Look
    """The pass over it, as a batch of one."""


def look_at(
    classifier: Classifier, manifest: pd.DataFrame, image_ids: Sequence[str], gradients: bool
) -> Iterator[Chosen]:
    """Yield the photos ``image_ids`` one after the other, each with the classifier's pass over it.

    Raises:
        AtlasError: a photo cannot be opened, or is narrower or lower than one patch.
    """
    rows = manifest.set_index("image_id").loc[list(image_ids)]
    for (image_id, row), stem in zip(rows.iterrows(), safe_stems(image_ids), strict=True):
        photo = open_photo(row["path"])
        require_patch(photo, classifier, str(row["path"]))
        seen = look(classifier, classifier.pixel_values([photo]), gradients=gradients)
        probability = torch.softmax(seen.logits[0], dim=-1)
        guess = Guess(
            name=Path(row["path"]).name,
            truth=str(row["class_name"]),
            guess=classifier.id2label[int(seen.targets[0])],
            confidence=float(probability[seen.targets[0]]),
        )
        yield Chosen(str(image_id), stem, photo, guess, seen)


def draw_chosen(chosen: Chosen, layer: int, folder: Path) -> None:
    """Write ``<stem>.png``: the photo, its head-mean map and every head of ``layer`` (negative from the last)."""
    rows = chosen.seen.class_rows(layer)[0].detach().numpy()
    count = len(chosen.seen.records)
    name = f"layer {layer % count + 1} of {count}"
    save(draw_photo(chosen.photo, rows.mean(axis=0), rows, chosen.guess, name), folder / f"{chosen.stem}.png")


def require_patch(photo: Image.Image, classifier: Classifier, path: str) -> None:
    """Check that a photo is at least one patch wide and high: a map of less has nothing to point at.

    Raises:
        AtlasError: it is not.
    """
    height, width = classifier.layout.patch
    if photo.width < width or photo.height < height:
        raise AtlasError(
            f"{path} is {photo.width}x{photo.height} pixels, less than one patch of {width}x{height}, so a map of it "
            "means nothing: leave it out of attention.photos"
        )


def map_spread(values: np.ndarray) -> float:
    """Perplexity of a map over the number of its patches: 1 is an even map, 1/patches all on one patch."""
    share = values.ravel() / values.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()) / values.size)


def progress(items: Iterator[Chosen], total: int, what: str) -> Iterator[Chosen]:
    """``items`` with a progress bar that estimates the time left."""
    return iter(tqdm(items, total=total, desc=what, unit="photo"))
