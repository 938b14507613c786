"""The picture of the stage suspects: the labels that are doubted most."""

import pandas as pd

from vit_atlas.data.manifest import Manifest
from vit_atlas.evaluation.suspects import DRAWN, KINDS
from vit_atlas.figures.style import save
from vit_atlas.figures.suspects import draw_suspects
from vit_atlas.paths import SUSPECTS_PICTURE


def draw_worst(table: pd.DataFrame, manifest: Manifest) -> None:
    """Draw the first suspects.

    Args:
        table: from :func:`vit_atlas.evaluation.suspects.suspects`, the worst first.
        manifest: all photos.

    Raises:
        AtlasError: a photo cannot be opened.
    """
    first = table.head(DRAWN)
    words = zip(first["class_name"], first["suggested_name"], first["kind"].map(KINDS), strict=True)
    photos = [photo.open() for photo in manifest.find(first["image_id"])]
    save(draw_suspects([(photo, *said) for photo, said in zip(photos, words, strict=True)]), SUSPECTS_PICTURE)
