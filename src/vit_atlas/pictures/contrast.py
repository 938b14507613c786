"""Pairs of maps, as the pictures of differences want them."""

from collections.abc import Mapping

import numpy as np

from vit_atlas.attention.contrast import difference
from vit_atlas.attention.methods import METHODS
from vit_atlas.figures.differences import Change


def pair_up(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> list[Change]:
    """What differs between the maps (rows, columns) of each method that both have, in the order of ``new``."""
    return [
        Change(METHODS[name].label, old[name], new[name], *difference(old[name], new[name]))
        for name in new
        if name in old
    ]
