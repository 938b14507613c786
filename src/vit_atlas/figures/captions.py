"""A caption as a strip: the photo, then for every word where the captioner looked to write it."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.attention import add_heat_bar, show_map, small
from vit_atlas.figures.style import MUTED, hide_axes, new_figure, proportions

COLUMNS = 6
"""Panels a row; longer captions go on in the next row."""
_PANEL = 2.2
"""Width of a panel in inches."""


@dataclass(frozen=True)
class WordPanel:
    """One word of a strip."""

    text: str
    probability: float
    """0 to 1."""
    values: np.ndarray
    """(rows, columns): where the captioner looked."""


def draw_strip(photo: Image.Image, words: Sequence[WordPanel], caption: str, notes: Sequence[str]) -> Figure:
    """One photo and its caption.

    Args:
        photo: RGB, any proportions.
        words: in the order of the caption.
        caption: the title.
        notes: smaller lines under the title, such as which map is drawn and what people wrote.
    """
    picture = small(photo)
    panels = 1 + len(words)
    columns = min(COLUMNS, panels) if panels > 3 else 4
    rows = math.ceil(panels / columns)
    ratio = proportions(picture)
    width = _PANEL if ratio <= 1 else max(_PANEL / ratio, 1.5)
    figure_width = columns * width + 0.9
    title = textwrap.fill(f"\u201c{caption}\u201d", int(figure_width * 8.5))
    lines = [line for note in notes for line in textwrap.wrap(note, int(figure_width * 11))]
    top = 0.27 * (title.count("\n") + 1) + 0.2 * len(lines) + 0.1
    figure = new_figure(figure_width, rows * (width * ratio + 0.62) + top)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - top / figure.get_figheight()))  # type: ignore[union-attr, call-arg]
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    axes[0].imshow(picture)
    axes[0].set_title("photo", fontsize=13)
    for panel, word in zip(axes[1:], words, strict=False):
        show_map(panel, picture, word.values, "")
        panel.set_title(word.text, fontsize=13)
        panel.set_xlabel(f"p = {word.probability:.2f}", fontsize=11, color=MUTED)
    for panel in axes:
        hide_axes(panel)
    for panel in axes[panels:]:
        panel.set_visible(False)
    add_heat_bar(figure, axes)
    height = figure.get_figheight()
    figure.text(0.5, 1 - 0.06 / height, title, ha="center", va="top", fontsize=14)
    offset = 0.1 + 0.27 * (title.count("\n") + 1)
    figure.text(0.5, 1 - offset / height, "\n".join(lines), ha="center", va="top", fontsize=10, color=MUTED)
    return figure
