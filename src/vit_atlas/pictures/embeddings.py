"""The pictures of embed-viz: similarities of position embeddings before and after fine-tuning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_atlas.attention.positions import DistanceCurve, dot_products
from vit_atlas.figures.embeddings import Curve, draw_change, draw_distance, draw_dot_product, draw_overview
from vit_atlas.figures.style import save
from vit_atlas.io.files import atomic_folder
from vit_atlas.paths import EMBEDDING_PLOTS


def draw_embeddings(
    cosine: Mapping[str, np.ndarray],
    after: np.ndarray,
    curves: Mapping[str, DistanceCurve],
    metrics: Mapping[str, Any],
    tiles: int,
) -> None:
    """Draw all pictures into plots/embeddings, which is replaced as a whole.

    Args:
        cosine: similarities (rows, columns, rows, columns) ``before`` and ``after``.
        after: position embeddings (rows, columns, dim) after fine-tuning.
        curves: similarity by distance ``before`` and ``after``.
        metrics: rank correlations, for the title.
        tiles: at most this many patches a side in the overviews.
    """
    folder: Path
    with atomic_folder(EMBEDDING_PLOTS) as folder:
        for when, similarity in cosine.items():
            title = f"Similarity of position embeddings {when} fine-tuning"
            save(draw_overview(similarity, tiles, title), folder / f"overview_{when}.png")
        save(draw_change(cosine["before"], cosine["after"], tiles), folder / "change.png")
        save(draw_dot_product(cosine["after"], dot_products(after), tiles), folder / "dot_product.png")
        lines = [Curve(f"{when} fine-tuning", **vars(curve)) for when, curve in curves.items()]
        save(draw_distance(lines, [metrics[f"rank_correlation_{when}"] for when in curves]), folder / "distance.png")
