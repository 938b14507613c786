"""Photos whose label is to be doubted."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.style import BAD, MUTED, hide_axes, new_grid, proportions

SIDE = 360
COLUMNS = 6


def draw_suspects(suspects: Sequence[tuple[Image.Image, str, str, str]]) -> Figure:
    """Draw photos with their label and the class that others like them have.

    Args:
        suspects: the worst first: photo, its label, the suggested class, and why it is doubted.
    """
    rows = max(1, -(-len(suspects) // COLUMNS))
    figure, grid = new_grid(rows, min(COLUMNS, max(len(suspects), 2)), panel=(2.1, 2.7))
    panels = [axes for row in grid for axes in row]
    for axes in panels:
        hide_axes(axes)
        axes.set_anchor("N")
    for axes, (photo, label, suggested, why) in zip(panels, suspects, strict=False):
        small = photo.copy()
        small.thumbnail((SIDE, SIDE))
        axes.imshow(small, aspect=1 if proportions(small) == small.height / small.width else "auto")
        axes.set_title(f"{label[:24]}\nlike {suggested[:24]}", fontsize=9, color=BAD)
        axes.set_xlabel(why, fontsize=7, color=MUTED)
    for axes in panels[max(len(suspects), 1) :]:
        axes.set_visible(False)
    if not suspects:
        panels[0].set_title("no label is doubted", fontsize=9, color=MUTED)
    return figure
