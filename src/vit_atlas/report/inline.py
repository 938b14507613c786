"""The page's style and scripts, and the chart library from its package: all of it inside the page."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import matplotlib
import numpy as np
from markupsafe import Markup

from vit_atlas.figures.style import HEAT, SEQUENTIAL

SCRIPTS = (
    "core.js",
    "board.js",
    "attention.js",
    "positions.js",
    "captions.js",
    "gallery.js",
    "scatter.js",
    "charts.js",
)
"""The atlas's, in the order in which they run; each stands in a function of its own and shares the object ``Atlas``."""

STYLES = ("style.css", "gallery.css")

PALETTES = {"heat": HEAT, "similarity": SEQUENTIAL}
"""matplotlib's perceptually uniform maps, the same as in pictures: for attention, and for similarities."""


def style(more: Sequence[str] = ()) -> Markup:
    """The style sheet of all pages, and ``more`` for one."""
    return Markup("\n".join(_text(name) for name in (*STYLES, *more)))


def scripts(names: Sequence[str] = SCRIPTS) -> Markup:
    """A page's own scripts."""
    return _script("\n".join(_text(f"scripts/{name}") for name in names))


@cache
def chart_library() -> Markup:
    """Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert-python; it needs no network."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return _script(f"(function () {{{bundle}}})();")


def palettes() -> dict[str, list[int]]:
    """Every palette as 256 colours of red, green and blue behind each other, 0 to 255."""
    found = {}
    for name, palette in PALETTES.items():
        colours = matplotlib.colormaps[palette](np.arange(256))[:, :3]
        found[name] = np.rint(colours * 255).astype(int).ravel().tolist()
    return found


def _script(text: str) -> Markup:
    """Make a script safe to stand in a page: inside it, a browser looks for these two marks and for nothing else."""
    return Markup(re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE).replace("<!--", r"<\!--"))


def _text(name: str) -> str:
    return files("vit_atlas.report").joinpath(name).read_text(encoding="utf-8")
