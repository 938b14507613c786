"""Pictures of position-embedding similarity."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vit_atlas.figures.style import DIVERGING, PRIMARY, SECONDARY, SEQUENTIAL, new_figure

Array = np.ndarray


@dataclass(frozen=True)
class Curve:
    """One line of :func:`draw_distance`: similarity at whole distances, with a band."""

    label: str
    distance: Array
    mean: Array
    low: Array
    high: Array


def draw_overview(similarity: Array, tiles: int, title: str, label: str = "cosine similarity") -> Figure:
    """One tile a patch: the map of its similarity with every patch, the tiles laid out as the patches are.

    Args:
        similarity: (rows, columns, rows, columns).
        tiles: at most this many tiles a side; larger grids are sampled evenly.
        title: what the picture shows.
        label: of the colour bar.
    """
    rows, columns = similarity.shape[:2]
    figure = new_figure(9.0, min(1.4 + 7.2 * rows / columns, 16.0))
    _mosaic_panel(figure, figure.subplots(), similarity, tiles, label, (-1.0, 1.0), SEQUENTIAL)
    shown = _sampled(rows, tiles), _sampled(columns, tiles)
    part = (
        "" if len(shown[0]) == rows and len(shown[1]) == columns else f", {len(shown[0])}x{len(shown[1])} of them shown"
    )
    figure.suptitle(f"{title}\n{rows}x{columns} patches{part}; each tile is one patch against all", fontsize=13)
    return figure


def draw_change(before: Array, after: Array, tiles: int) -> Figure:
    """Similarity before fine-tuning, after it, and the difference, tile by tile."""
    change = after - before
    largest = float(np.abs(change).max())
    few = max(1, tiles // 2)
    figure = new_figure(15.0, min(1.6 + 3.6 * before.shape[0] / before.shape[1], 12.0))
    panels = figure.subplots(1, 3)
    _mosaic_panel(figure, panels[0], before, few, "cosine similarity", (-1.0, 1.0), SEQUENTIAL)
    _mosaic_panel(figure, panels[1], after, few, "cosine similarity", (-1.0, 1.0), SEQUENTIAL)
    limit = largest or 1.0
    _mosaic_panel(figure, panels[2], change, few, "after minus before", (-limit, limit), DIVERGING)
    panels[0].set_title("before fine-tuning")
    panels[1].set_title("after fine-tuning")
    panels[2].set_title(f"difference, at most {largest:.2g}" if largest else "no difference: they were not trained")
    figure.suptitle("Similarity of position embeddings, before and after fine-tuning", fontsize=13)
    return figure


def draw_dot_product(cosine: Array, dot: Array, tiles: int) -> Figure:
    """Cosine similarity beside the plain dot product, which mixes the embeddings' norms into the picture."""
    few = max(1, tiles // 2)
    figure = new_figure(11.0, min(1.6 + 3.9 * cosine.shape[0] / cosine.shape[1], 12.0))
    panels = figure.subplots(1, 2)
    _mosaic_panel(figure, panels[0], cosine, few, "cosine similarity", (-1.0, 1.0), SEQUENTIAL)
    # A patch with itself stands out by its norm alone; the scale is for all the others.
    low, high = (float(limit) for limit in np.quantile(dot, [0.0, 0.995]))
    _mosaic_panel(figure, panels[1], dot, few, "dot product", (low, high), SEQUENTIAL)
    panels[0].set_title("cosine: direction alone")
    panels[1].set_title("dot product: direction and norm")
    figure.suptitle("Position embeddings after fine-tuning, compared in two ways", fontsize=13)
    return figure


def draw_distance(curves: list[Curve], correlations: list[float | None], title: str) -> Figure:
    """Similarity by distance, one line with its 10 to 90 % band a curve, the rank correlation in the legend."""
    figure = new_figure(8.0, 5.0)
    axes = figure.subplots()
    styles = [(PRIMARY, "-"), (SECONDARY, "--")]
    for curve, correlation, (colour, line) in zip(curves, correlations, styles, strict=False):
        figure_text = "undefined" if correlation is None else f"{correlation:.3f}"
        axes.fill_between(curve.distance, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            curve.distance,
            curve.mean,
            line,
            color=colour,
            linewidth=2,
            label=f"{curve.label} (rank correlation {figure_text})",
        )
    axes.set_xlabel("distance between two patches (patches)")
    axes.set_ylabel("cosine similarity")
    axes.set_title(f"{title}\nMean and 10 to 90 % of all pairs")
    axes.grid(alpha=0.25)
    axes.legend(loc="best")
    return figure


def draw_attention_distance(distances: Array, even: float, photos: int) -> Figure:
    """Mean attention distance, one point a head, layer by layer; dashed: attention that is even.

    Args:
        distances: (layers, heads) in patches.
        even: the same of even attention.
        photos: how many it was measured on.
    """
    figure = new_figure(8.0, 5.0)
    axes = figure.subplots()
    layers = np.arange(1, len(distances) + 1)
    axes.scatter(np.repeat(layers, distances.shape[1]), distances.ravel(), s=26, color=PRIMARY, alpha=0.6, label="head")
    axes.plot(layers, distances.mean(axis=1), color=PRIMARY, linewidth=2, label="mean of the layer")
    axes.axhline(even, color=SECONDARY, linestyle="--", linewidth=2, label=f"even attention, {even:.1f}")
    axes.set_xticks(layers[:: max(1, len(layers) // 12)])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("mean attention distance (patches)")
    axes.set_title(f"How far does every head look? {photos} photo{'' if photos == 1 else 's'}")
    axes.grid(alpha=0.25)
    axes.legend(loc="best")
    return figure


def draw_bias(bias: Array) -> Figure:
    """What is added to attention by relative position, a tile a layer (across) and head (down).

    Args:
        bias: (layers, heads, 2 rows - 1, 2 columns - 1), the looking patch in the centre of each tile.
    """
    layers, heads, rows, columns = bias.shape
    picture, gap = _mosaic(bias.swapaxes(0, 1))
    limit = float(np.abs(bias).max())
    scale = min(15.0 / picture.shape[1], 12.0 / picture.shape[0])
    figure = new_figure(max(picture.shape[1] * scale, 6.0) + 1.8, max(picture.shape[0] * scale, 2.0) + 1.4)
    axes = figure.subplots()
    shown = axes.imshow(picture, vmin=-limit, vmax=limit, cmap=DIVERGING, interpolation="nearest")
    axes.set_xticks(
        [n * (columns + gap) + (columns - 1) / 2 for n in range(layers)], [str(n + 1) for n in range(layers)]
    )
    axes.set_yticks([n * (rows + gap) + (rows - 1) / 2 for n in range(heads)], [f"head {n + 1}" for n in range(heads)])
    axes.set_xlabel("layer")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(shown, ax=axes, label="added to the logits of attention", fraction=0.046, pad=0.02)
    figure.suptitle("Bias by relative position: each tile is one patch (centre) against all around it", fontsize=13)
    return figure


def _mosaic_panel(
    figure: Figure, axes: Axes, similarity: Array, tiles: int, label: str, limits: tuple[float, float], colours: str
) -> None:
    """Draw the tiles as one picture: hundreds of axes would take minutes to lay out."""
    rows, columns = similarity.shape[:2]
    across, down = _sampled(columns, tiles), _sampled(rows, tiles)
    picture, gap = _mosaic(similarity[np.ix_(down, across)])
    shown = axes.imshow(picture, vmin=limits[0], vmax=limits[1], cmap=colours, interpolation="nearest")
    _tick_tiles(axes.set_xticks, across, columns, gap)
    _tick_tiles(axes.set_yticks, down, rows, gap)
    axes.set_xlabel("column of the patch")
    axes.set_ylabel("row of the patch")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    extend = "max" if np.nanmax(picture) > limits[1] * 1.001 else "neither"
    figure.colorbar(shown, ax=axes, label=label, fraction=0.046, pad=0.02, extend=extend)


def _mosaic(tiles: Array) -> tuple[Array, int]:
    """Lay tiles (down, across, rows, columns) out as one array with gaps of NaN; also the gap's width in cells."""
    down, across, rows, columns = tiles.shape
    gap = max(1, round(max(rows, columns) / 12))
    picture = np.full((down * (rows + gap) - gap, across * (columns + gap) - gap), np.nan)
    for i in range(down):
        for j in range(across):
            top, left = i * (rows + gap), j * (columns + gap)
            picture[top : top + rows, left : left + columns] = tiles[i, j]
    return picture, gap


def _sampled(length: int, most: int) -> list[int]:
    """At most ``most`` of ``range(length)``, evenly spread and symmetric."""
    if length <= most:
        return list(range(length))
    return [int(place) for place in np.floor((np.arange(most) + 0.5) * length / most)]


def _tick_tiles(set_ticks: object, shown: list[int], size: int, gap: int) -> None:
    step = max(1, len(shown) // 8)
    centres = [index * (size + gap) + (size - 1) / 2 for index in range(len(shown))]
    set_ticks(centres[::step], [str(place) for place in shown[::step]])  # type: ignore[operator]
