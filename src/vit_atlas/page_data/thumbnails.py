"""Photos and the outlines of their masks, as small as a page needs them."""

from pathlib import Path

import contourpy
import numpy as np
from matplotlib.path import Path as Outline
from PIL import Image

from vit_atlas.io.files import atomic_file

LONGEST = 448
"""Pixels of a thumbnail's longer side."""

MASK_SIDE = 224
"""Masks are traced at most at this many pixels a side."""

TOLERANCE = 0.6
"""An outline may be off by this many of those pixels."""

UNITS = 1000
"""Outlines are drawn in a square of this side, whatever the photo's proportions."""


def save_thumbnail(photo: Image.Image, path: str | Path) -> None:
    """Write an RGB ``photo`` as JPEG, its longer side at most :data:`LONGEST` pixels."""
    small = photo.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    with atomic_file(path) as temporary:
        small.save(temporary, "JPEG", quality=84, optimize=True)


def outline(mask: np.ndarray) -> str:
    """Trace the object (value 1) of a ``mask`` (height, width) as the data of an SVG path; empty where there is none.

    x and y run from 0 to :data:`UNITS` over the photo's width and height. Lines are simplified, but stay within
    :data:`TOLERANCE`; specks of a few pixels are left out.
    """
    height, width = mask.shape
    scale = min(1.0, MASK_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    area = Image.fromarray((mask == 1).astype(np.float32)).resize(size, Image.Resampling.BOX)
    # A border of background closes the lines of objects that touch the photo's edge.
    padded = np.pad(np.asarray(area), 1)
    rings = []
    for line in contourpy.contour_generator(z=padded).lines(0.5):
        points = np.asarray(line, dtype=float)
        if len(points) >= 6:
            places = np.clip((_simplified(points) - 0.5) / size, 0, 1) * UNITS
            rings.append("M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in places) + "Z")
    return "".join(rings)


def _simplified(points: np.ndarray) -> np.ndarray:
    path = Outline(points)
    path.should_simplify = True
    path.simplify_threshold = TOLERANCE
    vertices = np.asarray(path.cleaned(simplify=True).vertices)
    # The last vertex is a stop at the origin.
    return vertices[:-1] if len(vertices) > 3 else points
