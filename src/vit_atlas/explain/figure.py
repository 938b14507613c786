"""The picture of one explained photo: itself, its maps, and the likeliest classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.explain.classify import Prediction
from vit_atlas.figures.attention import add_heat_bar, show_map, small
from vit_atlas.figures.style import INK, MUTED, PRIMARY, hide_axes, new_figure, proportions

COLUMNS = 4
"""Pictures a row, the photo included."""
BARS = 3.4
"""Width of the predictions in inches."""
LEAST = 3.2
"""Height of the predictions, and so of the whole at least, in inches."""
HIGHEST = 4.8
"""Height that a photo is given at most in inches: the rest of a tall one's panel stays empty at its sides."""
LONGEST_LABEL = 28
"""Characters of a class name that fit beside the bars."""


def draw_explanation(
    photo: Image.Image, maps: Mapping[str, np.ndarray], predictions: Sequence[Prediction], name: str, readout: str
) -> Figure:
    """Draw a photo, the maps over it, and the model's likeliest classes.

    Args:
        photo: RGB, any proportions.
        maps: title -> (rows, columns), not negative.
        predictions: likeliest first.
        name: the photo's name, for the title.
        readout: what the head reads, which maps follow.
    """
    picture = small(photo)
    columns = min(COLUMNS, 1 + len(maps))
    rows = -(-(1 + len(maps)) // columns)
    ratio = proportions(picture)
    width = 3.2 if ratio <= 1 else max(3.2 / ratio, 2.2)
    tall = max(rows * (min(width * ratio, HIGHEST) + 0.45) + 0.9, LEAST)
    figure = new_figure(columns * width + BARS + 1.1, tall)
    parts: Any = figure.subfigures(1, 2, width_ratios=[columns * width + 1.1, BARS])
    left, right = parts
    axes = list(left.subplots(rows, columns, squeeze=False).ravel())
    axes[0].imshow(picture)
    axes[0].set_title("photo", fontsize=12)
    for panel, (title, values) in zip(axes[1:], maps.items(), strict=False):
        show_map(panel, picture, values, "")
        panel.set_title(title, fontsize=12)
    for panel in axes:
        hide_axes(panel)
    for panel in axes[1 + len(maps) :]:
        panel.set_visible(False)
    add_heat_bar(left, axes)
    bars, rest = right.subplots(2, 1, height_ratios=[LEAST, max(tall - LEAST, 1e-3)])
    rest.set_visible(False)
    _bars(bars, predictions)
    best = predictions[0]
    title = f"{short_name(name, 60)}: {short_name(best.label, 40)}, {best.probability:.0%}"
    figure.suptitle(f"{title}\n{readout}", fontsize=14)
    return figure


def _bars(axes: Axes, predictions: Sequence[Prediction]) -> None:
    places = range(len(predictions))
    values = [prediction.probability for prediction in predictions]
    colours = [PRIMARY] + [MUTED] * (len(predictions) - 1)
    axes.barh(places, values, color=colours, height=0.38, align="edge")
    for place, prediction in enumerate(predictions):
        text = f"{short_name(prediction.label, LONGEST_LABEL)}  {prediction.probability:.1%}"
        axes.text(0, place - 0.08, text, va="bottom", ha="left", fontsize=12, color=INK)
    axes.set_ylim(max(len(predictions), 3) - 0.35, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("probability", fontsize=12)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def short_name(text: str, most: int) -> str:
    """``text``, or as much of it as ``most`` characters hold."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
