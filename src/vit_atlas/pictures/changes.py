"""What differs between two sets of maps of one photo; nothing here needs torch."""

from collections.abc import Mapping

import numpy as np

from vit_atlas.attention.contrast import difference
from vit_atlas.attention.methods import METHODS
from vit_atlas.figures.differences import Change

Maps = Mapping[str, np.ndarray]
"""Method -> map (rows, columns) of one photo."""


def pair_up(old: Maps, new: Maps) -> list[Change]:
    """What differs between the maps of each method that both have, in the order of ``new``."""
    return [
        Change(METHODS[name].label, old[name], new[name], *difference(old[name], new[name]))
        for name in new
        if name in old
    ]
