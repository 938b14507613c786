"""Maps of attention laid over photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.style import BAD, GOOD, HEAT, hide_axes, new_figure, proportions

Array = np.ndarray

PHOTO_SIDE = 420
"""Photos are drawn from copies with this longest side in pixels: no more fits into a panel."""

_OPACITY = (0.25, 0.8)
"""Opacity of the heat at the map's lowest and highest value: the photo stays visible everywhere."""


@dataclass(frozen=True)
class Guess:
    """What the model said about a photo: for titles."""

    name: str
    """File name of the photo."""
    truth: str
    """Its true class."""
    guess: str
    """The model's most likely class."""
    confidence: float
    """Its probability, 0 to 1."""

    @property
    def right(self) -> bool:
        """Whether the guess is the truth."""
        return self.truth == self.guess

    def __str__(self) -> str:
        said = f"{self.guess}, confidence {self.confidence:.0%}"
        return f"{self.name}: right, {said}" if self.right else f"{self.name}: {self.truth}, taken for {said}"


def small(photo: Image.Image, side: int = PHOTO_SIDE) -> Image.Image:
    """A copy of ``photo`` whose longest side is at most ``side`` pixels."""
    copy = photo.copy()
    copy.thumbnail((side, side))
    return copy


def overlay(photo: Image.Image, values: Array) -> Array:
    """``photo`` under a heatmap, float RGB (height, width, 3) in 0..1.

    The map covers the whole photo whatever its grid, is scaled so that its highest value is 1, and is the more opaque
    the higher it is.

    Args:
        photo: RGB.
        values: map (rows, columns), not negative.
    """
    width, height = photo.size
    peak = float(values.max())
    scaled = values / peak if peak > 0 else np.zeros_like(values)
    heat = np.asarray(
        Image.fromarray(scaled.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    ).clip(0, 1)
    colours = matplotlib.colormaps[HEAT](heat)[..., :3]
    opacity = (_OPACITY[0] + (_OPACITY[1] - _OPACITY[0]) * heat)[..., None]
    return np.asarray(photo, dtype=np.float64) / 255 * (1 - opacity) + colours * opacity


def show_map(axes: Axes, photo: Image.Image, values: Array, title: str) -> None:
    """Draw :func:`overlay` with a title and without axes."""
    axes.imshow(overlay(photo, values))
    hide_axes(axes)
    axes.set_title(title, fontsize=10)


def add_heat_bar(figure: Figure, axes: Sequence[Axes], label: str = "share of the panel's highest value") -> None:
    """Add the colour bar of :func:`overlay`, whose panels are each scaled to their own highest value."""
    scale = ScalarMappable(Normalize(0, 1), HEAT)
    figure.colorbar(scale, ax=list(axes), label=label, fraction=0.02, pad=0.01, aspect=30)


def draw_photo(photo: Image.Image, mean: Array, heads: Array, guess: Guess, subtitle: str) -> Figure:
    """One photo: itself, the head-mean map over it, and the map of every head.

    Args:
        photo: RGB, any proportions.
        mean: (rows, columns) attention of what the head reads to each patch, mean over heads.
        heads: (heads, rows, columns).
        guess: names and confidence for the title.
        subtitle: second line of the title: which layer, and what else there is to say.
    """
    picture = small(photo)
    panels = 2 + len(heads)
    columns = 4 if panels <= 8 else 5 if panels <= 15 else 6
    rows = -(-panels // columns)
    ratio = proportions(picture)
    width = 2.6 if ratio <= 1 else max(2.6 / ratio, 1.9)
    figure = new_figure(columns * width + 0.9, rows * (width * ratio + 0.35) + 0.75)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    axes[0].imshow(picture)
    axes[0].set_title("photo", fontsize=10)
    show_map(axes[1], picture, mean, f"mean of {len(heads)} heads{_peak(mean)}")
    for index, values in enumerate(heads):
        show_map(axes[2 + index], picture, values, f"head {index + 1}{_peak(values)}")
    for panel in axes:
        hide_axes(panel)
    for panel in axes[panels:]:
        panel.set_visible(False)
    add_heat_bar(figure, axes)
    figure.suptitle(f"{guess}\n{subtitle}", fontsize=12, color=GOOD if guess.right else BAD)
    return figure


def draw_tokens(photos: Sequence[tuple[Image.Image, Guess, Array]]) -> Figure:
    """Photos over their patch tokens as colours, uint8 (rows, columns, 3)."""
    ratio = max(proportions(photo) for photo, _, _ in photos)
    figure = new_figure(max(2.1 * len(photos), 6.5), 2 * 2.0 * ratio + 1.1)
    axes = figure.subplots(2, len(photos), squeeze=False)
    for column, (photo, guess, colours) in enumerate(photos):
        axes[0, column].imshow(photo)
        axes[0, column].set_title(guess.truth, fontsize=10, color=GOOD if guess.right else BAD)
        axes[1, column].imshow(colours, extent=(0, photo.width, photo.height, 0))
    for panel in axes.ravel():
        hide_axes(panel)
    title = "Patch tokens of the last layer as colours: three principal components over all drawn photos"
    figure.suptitle(title, fontsize=11)
    return figure


def _peak(values: Array) -> str:
    """The highest weight, beside what every patch would get if all got the same."""
    return f", peak {values.max() * values.size:.0f}x even"
