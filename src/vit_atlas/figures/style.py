"""One look for every figure, and PNG files that are the same bytes whenever the data are the same."""

import io
import warnings
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image

from vit_atlas.figures.lettering import BASE, make_legible
from vit_atlas.io.files import atomic_file

DPI = 120

INK = "#222222"
MUTED = "#6b6b6b"
PRIMARY = "#31688e"
SECONDARY = "#f28e2b"
GOOD = "#2a7f3e"
BAD = "#b3262e"
SERIES = ("#31688e", "#f28e2b", "#2a7f3e", "#b3262e", "#8c6bb1", "#8c564b")
"""Colours of lines and bars, told apart in grey print too; the first is :data:`PRIMARY`."""

SEQUENTIAL = "viridis"
"""Perceptually uniform map for quantities, such as a similarity."""
HEAT = "inferno"
"""Perceptually uniform map for attention laid over a photo, here and on the page."""
DIVERGING = "berlin"
"""Perceptually uniform map for differences; its dark centre is zero."""

LARGEST = 50.0
"""Inches of a figure's longest side, 6,000 pixels: what is larger no viewer shows."""

STEEPEST = 3.0
"""Height to width, or width to height, of a photo's panel at most; the rest of a strip's panel stays empty."""

_SETTINGS: dict[str, Any] = {
    "font.family": [BASE],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "image.cmap": SEQUENTIAL,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of ``width`` x ``height`` inches in the shared style, drawn without a display.

    No side is longer than :data:`LARGEST`.

    The layout is ``constrained``, so titles and labels do not overlap. No global figure list keeps it alive.
    """
    _use_style()
    figure = Figure(figsize=(min(width, LARGEST), min(height, LARGEST)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_grid(rows: int, columns: int, panel: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure of ``rows`` x ``columns`` panels, each ``panel`` = (width, height) inches.

    Returns:
        The figure, and its axes as a list of rows, whatever their number.
    """
    figure = new_figure(columns * panel[0], rows * panel[1])
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def proportions(photo: Image.Image) -> float:
    """Height to width of a panel for ``photo``: its own, within :data:`STEEPEST`."""
    return min(max(photo.height / photo.width, 1 / STEEPEST), STEEPEST)


def hide_axes(axes: Axes) -> None:
    """Take ticks and frame off a panel that shows a picture; its title stays."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def save(figure: Figure, path: str | Path) -> None:
    """Write ``figure`` as a PNG, atomically (:func:`png_bytes`)."""
    content = png_bytes(figure)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def png_bytes(figure: Figure) -> bytes:
    """Draw ``figure`` as a PNG; no date or version goes into it, so equal data give equal bytes."""
    _use_style()
    make_legible(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # said once by make_legible
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _use_style() -> None:
    """Set matplotlib's settings, whatever matplotlibrc the user has (some count when text is made, some when drawn)."""
    settings: Any = matplotlib.rcParams
    settings.update({key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")})
    settings.update(_SETTINGS)
