"""The pictures of embed-viz: similarities of position embeddings before and after fine-tuning."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_atlas.attention import positions
from vit_atlas.attention.positions import DistanceCurve, dot_products
from vit_atlas.errors import AtlasError
from vit_atlas.figures.embeddings import Curve, draw_change, draw_distance, draw_dot_product, draw_overview
from vit_atlas.figures.style import save
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.models.geometry import position_embedding
from vit_atlas.paths import EMBEDDING_NUMBERS, EMBEDDING_PLOTS, EMBEDDINGS


def write_and_draw(pretrained: Any, finetuned: Any, tiles: int) -> None:
    """Write build/embeddings.json and build/embeddings.npz, and draw plots/embeddings.

    For a model without a table of position embeddings the numbers are None beside the reason, and nothing is drawn.

    Args:
        pretrained: the network before fine-tuning, with any head.
        finetuned: the same network after it.
        tiles: at most this many patches a side in the overviews.

    Raises:
        AtlasError: the two have other grids of patches.
    """
    try:
        after = position_embedding(finetuned).numpy()
    except AtlasError as reason:
        write_arrays(EMBEDDINGS, {})
        write_json(EMBEDDING_NUMBERS, positions.without_table(str(reason)))
        with atomic_folder(EMBEDDING_PLOTS):
            pass
        return
    before = position_embedding(pretrained).numpy()
    numbers = positions.position_metrics(before, after)
    cosine = {"before": positions.cosine_similarities(before), "after": positions.cosine_similarities(after)}
    curves = {when: positions.similarity_by_distance(similarity) for when, similarity in cosine.items()}
    write_arrays(EMBEDDINGS, positions.packed_similarities(cosine["before"], cosine["after"], curves))
    write_json(EMBEDDING_NUMBERS, numbers)
    draw_embeddings(cosine, after, curves, numbers, tiles)


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
