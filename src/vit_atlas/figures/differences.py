"""Two maps of one photo and where they differ: of two classes, before and after fine-tuning, or of two results."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.attention import add_heat_bar, overlay, small
from vit_atlas.figures.maps import PANEL
from vit_atlas.figures.style import DIVERGING, hide_axes, new_figure, proportions

Array = np.ndarray


FAINTEST = 0.2
"""Colours of a difference reach at least to this, in multiples of an even map: less is nothing to see."""


@dataclass(frozen=True)
class Change:
    """One method's two maps of one photo."""

    label: str
    """How the method is called."""
    old: Array
    new: Array
    change: Array
    """(rows, columns) new minus old, in multiples of an even map."""
    amount: float
    """0 for equal maps to 1 for maps that do not overlap."""


def draw_difference(
    photo: Image.Image,
    title: str,
    changes: Sequence[Change],
    names: tuple[str, str, str] = ("old", "new", "new minus old"),
) -> Figure:
    """One photo: one map, the other and their difference (rows) of each method (columns).

    Args:
        photo: RGB, any proportions.
        title: what the picture shows.
        changes: one a method.
        names: how the three rows are called.
    """
    picture = small(photo, PANEL)
    ratio = proportions(picture)
    columns = len(changes)
    figure = new_figure(max(1.9 * columns + 1.4, 7.2), 3 * 1.9 * ratio + 1.6)
    axes = figure.subplots(3, columns, squeeze=False)
    for column, change in enumerate(changes):
        axes[0, column].imshow(overlay(picture, change.old))
        axes[1, column].imshow(overlay(picture, change.new))
        axes[2, column].imshow(change_overlay(picture, change.change))
        axes[0, column].set_title(change.label, fontsize=10)
        limit = change_limit(change.change)
        axes[2, column].set_xlabel(f"moved {change.amount:.0%}, colours to {limit:.2g}", fontsize=9)
    for panel in axes.ravel():
        hide_axes(panel)
    for row, label in enumerate(names):
        axes[row, 0].set_ylabel(label, fontsize=11)
    add_heat_bar(figure, list(axes[:2].ravel()))
    scale = ScalarMappable(Normalize(-1, 1), DIVERGING)
    figure.colorbar(
        scale, ax=list(axes[2]), label="share of the panel's colours", fraction=0.02, pad=0.01, extend="both"
    )
    note = "`moved`: share of the map in another place; 1 in colours: as much as an even map has"
    figure.suptitle(f"{title}\n{note}", fontsize=11)
    return figure


def change_limit(change: Array) -> float:
    """Where the colours of a difference end: a single spike must not turn all else black, nor noise be made bright."""
    return max(float(np.quantile(np.abs(change), 0.99)), FAINTEST)


def change_overlay(photo: Image.Image, change: Array) -> Array:
    """A difference (rows, columns) in colours over a faint ``photo``, float RGB (height, width, 3) in 0..1."""
    scaled = Image.fromarray((change / change_limit(change)).astype(np.float32))
    values = np.asarray(scaled.resize(photo.size, Image.Resampling.BILINEAR)).clip(-1, 1)
    colours = matplotlib.colormaps[DIVERGING]((values + 1) / 2)[..., :3]
    opacity = (0.6 + 0.3 * np.abs(values))[..., None]
    return np.asarray(photo, dtype=np.float64) / 255 * (1 - opacity) + colours * opacity
