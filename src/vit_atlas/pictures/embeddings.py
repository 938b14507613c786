"""The pictures of embed-viz: similarities of position embeddings, and what distance on photos means to the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_atlas.attention import positions
from vit_atlas.attention.locality import Locality
from vit_atlas.attention.positions import DistanceCurve, dot_products
from vit_atlas.errors import AtlasError
from vit_atlas.figures.embeddings import (
    Curve,
    draw_attention_distance,
    draw_bias,
    draw_change,
    draw_distance,
    draw_dot_product,
    draw_overview,
)
from vit_atlas.figures.style import save
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.models.geometry import position_embedding
from vit_atlas.paths import EMBEDDING_NUMBERS, EMBEDDING_PLOTS, EMBEDDINGS


def write_and_draw(pretrained: Any, finetuned: Any, locality: Locality | None, tiles: int) -> None:
    """Write build/embeddings.json and build/embeddings.npz, and draw plots/embeddings, which is replaced as a whole.

    For a model without a table of position embeddings the numbers of that table are None beside the reason.

    Args:
        pretrained: the network before fine-tuning, with any head.
        finetuned: the same network after it.
        locality: what photos say of it; None where there were none.
        tiles: at most this many patches a side in the overviews.

    Raises:
        AtlasError: the two have other grids of patches.
    """
    arrays: dict[str, np.ndarray] = {}
    with atomic_folder(EMBEDDING_PLOTS) as folder:
        try:
            after = position_embedding(finetuned).cpu().numpy()
        except AtlasError as reason:
            numbers: dict[str, Any] = {**positions.without_table(str(reason))}
        else:
            before = position_embedding(pretrained).cpu().numpy()
            numbers = {**positions.position_metrics(before, after)}
            cosine = {"before": positions.cosine_similarities(before), "after": positions.cosine_similarities(after)}
            curves = {when: positions.similarity_by_distance(similarity) for when, similarity in cosine.items()}
            arrays |= positions.packed_similarities(**cosine) | positions.packed_curves(curves)
            _draw_embeddings(cosine, after, curves, numbers, tiles, folder)
        if locality is not None:
            numbers |= locality.numbers()
            tokens = {name: positions.similarity_by_distance(mean) for name, mean in locality.tokens.means.items()}
            arrays |= positions.packed_curves(tokens)
            arrays |= {"attention_distance": locality.distances, "attention_distance_even": np.array(locality.even)}
            _draw_locality(locality, tokens, folder)
    write_arrays(EMBEDDINGS, arrays)
    write_json(EMBEDDING_NUMBERS, numbers)


def _draw_embeddings(
    cosine: Mapping[str, np.ndarray],
    after: np.ndarray,
    curves: Mapping[str, DistanceCurve],
    metrics: Mapping[str, Any],
    tiles: int,
    folder: Path,
) -> None:
    """Draw what the table of position embeddings (rows, columns, dim) says, ``before`` and ``after`` fine-tuning."""
    for when, similarity in cosine.items():
        title = f"Similarity of position embeddings {when} fine-tuning"
        save(draw_overview(similarity, tiles, title), folder / f"overview_{when}.png")
    save(draw_change(cosine["before"], cosine["after"], tiles), folder / "change.png")
    save(draw_dot_product(cosine["after"], dot_products(after), tiles), folder / "dot_product.png")
    lines = [Curve(f"{when} fine-tuning", **vars(curve)) for when, curve in curves.items()]
    correlations = [metrics[f"rank_correlation_{when}"] for when in curves]
    save(draw_distance(lines, correlations, "Are near patches similar?"), folder / "distance.png")


def _draw_locality(locality: Locality, tokens: Mapping[str, DistanceCurve], folder: Path) -> None:
    """Draw what photos say, of any model."""
    lines = [Curve(name, **vars(curve)) for name, curve in tokens.items()]
    names = ("token_rank_correlation", "token_rank_correlation_between_photos")
    known = [[one for one in locality.tokens.by_photo[name] if np.isfinite(one)] for name in names]
    correlations = [float(np.mean(values)) if values else None for values in known]
    title = f"Do near patches end with similar tokens? After the last block, {locality.photos} photos."
    save(draw_distance(lines, correlations, title), folder / "tokens.png")
    figure = draw_attention_distance(locality.distances, locality.even, locality.photos)
    save(figure, folder / "attention_distance.png")
    if locality.bias is not None:
        save(draw_bias(locality.bias), folder / "bias.png")
