"""How two maps of one photo differ: of two classes, of two models, of two results."""

import numpy as np

Array = np.ndarray


def difference(old: Array, new: Array) -> tuple[Array, float]:
    """Where ``new`` puts more (positive) or less than ``old``, both (rows, columns).

    Returns:
        The difference of the two as shares of the whole, times the number of patches: +1 is as much more as an even map
        has; and half the sum of the absolute differences of shares, 0 for equal maps to 1 for maps that do not overlap.
    """
    change = _shares(new) - _shares(old)
    return change * change.size, float(np.abs(change).sum() / 2)


def _shares(values: Array) -> Array:
    total = values.sum()
    return values / total if total > 0 else np.full(values.shape, 1 / values.size)
