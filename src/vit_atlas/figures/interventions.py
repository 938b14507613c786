"""Photos with a part of them taken away, and what the model still says."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from vit_atlas.figures.style import BAD, GOOD, MUTED, hide_axes, new_grid

TITLES = {
    "whole": "whole photo",
    "object_alone": "object alone",
    "background_alone": "background alone",
    "without_highlight": "without the highlight",
    "without_elsewhere": "as much elsewhere",
    "without_beside": "without what it looks at\nbeside the object",
    "without_beside_elsewhere": "as much beside it,\nunlooked at",
}
"""Interventions, in the order of columns."""


def draw_interventions(rows: Sequence[tuple[str, dict[str, tuple[np.ndarray, float, bool]]]]) -> Figure:
    """Draw one row a photo: the photo, and what is left after every intervention.

    Args:
        rows: name of the photo, and by intervention its pixels (height, width, 3), the probability of the true class,
            and whether the answer is right. An intervention that the photo does not have is left blank.
    """
    figure, grid = new_grid(max(len(rows), 1), len(TITLES), panel=(1.9, 2.5))
    for axes, (name, versions) in zip(grid, rows, strict=False):
        for place, key in zip(axes, TITLES, strict=True):
            hide_axes(place)
            if key not in versions:
                place.imshow(np.full((8, 8, 3), 245, np.uint8))
                place.set_xlabel("none", color=MUTED, fontsize=9)
                continue
            pixels, probability, right = versions[key]
            place.imshow(pixels)
            place.set_xlabel(f"{probability:.0%}", color=GOOD if right else BAD, fontsize=11)
        axes[0].set_ylabel(name, fontsize=9)
    for place, title in zip(grid[0], TITLES.values(), strict=True):
        place.set_title(title, fontsize=9)
    if not rows:
        grid[0][3].set_xlabel("no photo's answer comes from beside its object", color=MUTED)
        for place in grid[0]:
            hide_axes(place)
    return figure
