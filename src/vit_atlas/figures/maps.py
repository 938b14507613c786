"""Map methods side by side, their scores, and what the patch tokens' norms say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.attention import Guess, add_heat_bar, overlay, small
from vit_atlas.figures.style import (
    BAD,
    GOOD,
    INK,
    MUTED,
    PRIMARY,
    SEQUENTIAL,
    hide_axes,
    new_figure,
    proportions,
)

Array = np.ndarray

PANEL = 210
"""Longest side in pixels of a photo in the pictures with many panels."""


@dataclass(frozen=True)
class Panel:
    """One map of one photo."""

    label: str
    """How the method is called."""
    values: Array
    """(rows, columns)."""
    score: str
    """What stands under it; empty for nothing."""


@dataclass(frozen=True)
class Row:
    """One photo with its maps."""

    photo: Image.Image
    guess: Guess
    mask: Array | None
    """(height, width) uint8 at the photo's size: 1 object; None where there is none."""
    panels: Sequence[Panel]


def draw_comparison(rows: Sequence[Row], score_name: str) -> Figure:
    """One row a photo, one column a method; the object's outline on the photo and on every map, the score below.

    Args:
        rows: photos with the same methods in the same order.
        score_name: what the numbers under the panels are.
    """
    columns = 1 + len(rows[0].panels)
    pictures = [small(row.photo, PANEL) for row in rows]
    ratios = [proportions(picture) for picture in pictures]
    heights = [min(max(1.62 * ratio, 0.8), 2.4) for ratio in ratios]
    figure = new_figure(1.62 * columns + 0.9, sum(heights) + 0.62 * len(rows) + 0.9)
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for line, row, picture in zip(axes, rows, pictures, strict=True):
        _compare_row(line, row, picture)
    add_heat_bar(figure, list(axes.ravel()))
    figure.suptitle(f"Map methods side by side; under each: {score_name}; outline: the mask", fontsize=13)
    return figure


def draw_layers(photo: Image.Image, maps: Array, guess: Guess, readout: str) -> Figure:
    """The attention of what the head reads in every layer (columns) and head (rows) of one photo.

    Args:
        photo: RGB.
        maps: (layers, heads, rows, columns).
        guess: for the title.
        readout: what the head reads, for the title.
    """
    layers, heads = maps.shape[:2]
    picture = small(photo, max(60, min(PANEL, 1900 // max(layers, heads))))
    width, height = picture.size
    gap = 4
    mosaic = np.ones((heads * (height + gap) - gap, layers * (width + gap) - gap, 3))
    for layer, head in np.ndindex(layers, heads):
        top, left = head * (height + gap), layer * (width + gap)
        mosaic[top : top + height, left : left + width] = overlay(picture, maps[layer, head])
    scale = min(15.0 / mosaic.shape[1], 14.0 / mosaic.shape[0])
    figure = new_figure(max(mosaic.shape[1] * scale, 7.0) + 1.8, mosaic.shape[0] * scale + 1.1)
    axes = figure.subplots()
    axes.imshow(mosaic)
    hide_axes(axes)
    across = [layer * (width + gap) + width / 2 for layer in range(layers)]
    axes.set_xticks(across, [str(layer + 1) for layer in range(layers)])
    down = [head * (height + gap) + height / 2 for head in range(heads)]
    axes.set_yticks(down, [f"head {head + 1}" for head in range(heads)])
    axes.set_xlabel("layer")
    axes.tick_params(length=0)
    add_heat_bar(figure, [axes])
    title = f"{guess}\nattention in every layer and head ({readout})"
    figure.suptitle(title, fontsize=12, color=_colour(guess))
    return figure


@dataclass(frozen=True)
class Bar:
    """One score of one method, with its 95 % interval."""

    label: str
    value: float
    low: float
    high: float
    baseline: bool


def draw_scores(groups: dict[str, Sequence[Bar]], photos: int) -> Figure:
    """Bars of every method, one panel a score, the methods in one order; baselines are grey.

    Args:
        groups: score name -> bars, in the same order of methods; a method without the score is left out.
        photos: how many photos were scored.
    """
    most = max((len(bars) for bars in groups.values()), default=1)
    columns = min(2, len(groups)) or 1
    lines = -(-len(groups) // columns)
    figure = new_figure(5.6 * columns, lines * (0.34 * most + 0.9) + 0.6)
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for panel, (name, bars) in zip(axes, groups.items(), strict=False):
        _bars(panel, name, bars)
    for panel in axes[len(groups) :]:
        panel.set_visible(False)
    figure.suptitle(f"Scores of map methods on {photos} test photos, 95 % intervals; grey: baselines", fontsize=13)
    return figure


def draw_classes(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Mean IoU of every class (rows) and method (columns).

    Args:
        table: index class_name; column ``photos`` and one column a method.
        labels: method -> how to call it.
    """
    methods = [name for name in table.columns if name != "photos"]
    values = table[methods].to_numpy(float)
    figure = new_figure(1.6 + 0.85 * len(methods) + 1.6, 1.9 + 0.3 * len(table))
    axes = figure.subplots()
    shown = axes.imshow(values, vmin=0, vmax=1, cmap=SEQUENTIAL, aspect="auto")
    axes.set_xticks(range(len(methods)), [labels[name] for name in methods], rotation=40, ha="left")
    axes.set_yticks(range(len(table)), [f"{name} ({count})" for name, count in table["photos"].items()], fontsize=9)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for row, column in np.ndindex(values.shape):
        if np.isfinite(values[row, column]):
            colour = "white" if values[row, column] < 0.6 else INK
            text = f"{values[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(shown, ax=axes, label="mean IoU of the class (photos)", fraction=0.03, pad=0.02)
    figure.suptitle("Mean IoU with the mask, by class", fontsize=13)
    return figure


def draw_norms(edges: Array, counts: Array, thresholds: Sequence[float | None]) -> Figure:
    """Norms of patch tokens: a histogram a layer, the last layer's larger, outlier thresholds marked.

    Args:
        edges: (bins + 1,) log10 of the norm.
        counts: (layers, bins).
        thresholds: norm above which a layer's tokens are outliers, or None.
    """
    layers = len(counts)
    figure = new_figure(11.5, max(3.8, 1.4 + 0.24 * layers))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    extent = (float(edges[0]), float(edges[-1]), layers + 0.5, 0.5)
    shown = left.imshow(share * 100, aspect="auto", extent=extent, cmap=SEQUENTIAL, interpolation="nearest")
    _log_ticks(left, edges)
    left.set_yticks(range(1, layers + 1))
    left.set_ylabel("layer")
    left.set_title("norms of patch tokens after every layer")
    for layer, threshold in enumerate(thresholds, start=1):
        if threshold is not None:
            left.plot([np.log10(threshold)] * 2, [layer - 0.5, layer + 0.5], color="white", linewidth=2)
    figure.colorbar(shown, ax=left, label="share of the layer's tokens (%)", pad=0.02)
    used = np.flatnonzero(counts[-1])
    shown_bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(None)
    centres = (edges[1:] + edges[:-1]) / 2
    right.bar(centres[shown_bins], counts[-1][shown_bins], width=np.diff(edges)[shown_bins], color=PRIMARY)
    right.set_yscale("log")
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.yaxis.set_minor_formatter(lambda value, _: "")
    _log_ticks(right, edges[shown_bins.start : shown_bins.stop + 1] if len(used) else edges)
    right.set_ylabel("patch tokens (logarithmic)")
    last = thresholds[-1]
    if last is None:
        right.set_title(f"layer {layers}: one mode, no outliers")
    else:
        right.axvline(np.log10(last), color=BAD, linestyle="--")
        right.set_title(f"layer {layers}: outliers above {last:.3g}")
    return figure


def _compare_row(line: Sequence[Axes], row: Row, picture: Image.Image) -> None:
    outline = None
    if row.mask is not None:
        stretched = Image.fromarray((row.mask == 1).astype(np.uint8)).resize(picture.size, Image.Resampling.NEAREST)
        outline = np.asarray(stretched)
    line[0].imshow(picture)
    line[0].set_title(row.guess.truth, fontsize=10, color=_colour(row.guess))
    said = "right" if row.guess.right else f"as {row.guess.guess}"
    line[0].set_xlabel(f"{said}, {row.guess.confidence:.0%}", fontsize=9, color=_colour(row.guess))
    for axes, panel in zip(line[1:], row.panels, strict=True):
        axes.imshow(overlay(picture, panel.values))
        axes.set_title(panel.label, fontsize=9)
        axes.set_xlabel(panel.score, fontsize=9)
    for axes in line:
        hide_axes(axes)
        if outline is not None and outline.any() and not outline.all():
            axes.contour(outline, levels=[0.5], colors=["white"], linewidths=1.6)
            axes.contour(outline, levels=[0.5], colors=[INK], linewidths=0.7)


def _bars(axes: Axes, name: str, bars: Sequence[Bar]) -> None:
    places = np.arange(len(bars))
    values = np.array([bar.value for bar in bars])
    errors = np.array([[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]).clip(0)
    colours = [MUTED if bar.baseline else PRIMARY for bar in bars]
    axes.barh(places, values, color=colours, height=0.7)
    axes.errorbar(values, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
    axes.set_yticks(places, [bar.label for bar in bars])
    axes.invert_yaxis()
    axes.set_title(name)
    axes.set_xlim(
        min(0.0, float((values - errors[0]).min(initial=0)) * 1.1), max(1e-6, _top(values + errors[1])) * 1.22
    )
    for place, bar in enumerate(bars):
        axes.text(
            max(bar.high, bar.value, 0) + 0.01 * axes.get_xlim()[1],
            place,
            f"{bar.value + 0.0:.2f}".replace("-0.00", "0.00"),
            va="center",
            fontsize=9,
        )


def _top(values: Array) -> float:
    return float(values.max(initial=0))


def _log_ticks(axes: Axes, edges: Array) -> None:
    """Label a log10 axis with norms."""
    places = np.linspace(edges[0], edges[-1], 6)
    axes.set_xticks(places, [f"{10**place:.3g}" for place in places])
    axes.set_xlabel("norm (logarithmic)")


def _colour(guess: Guess) -> str:
    return GOOD if guess.right else BAD
