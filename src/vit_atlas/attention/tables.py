"""The map methods' scores as a table that DVC draws, and compares between commits."""

import pandas as pd

from vit_atlas.attention.maps import LABELS
from vit_atlas.attention.summary import Metrics

SHOWN = ("miou", "mass", "pointing", "ap")
"""Scores against masks, each between 0 and 1."""


def method_table(metrics: Metrics) -> pd.DataFrame:
    """One row a method that was scored, best mean IoU first: ``method`` as figures call it, and a column a score.

    Args:
        metrics: the content of metrics/attention.json.
    """
    rows = [
        {"method": label, **{score: metrics.get(f"{name}.{score}") for score in SHOWN}}
        for name, label in LABELS.items()
        if metrics.get(f"{name}.mass") is not None
    ]
    table = pd.DataFrame(rows, columns=["method", *SHOWN])
    return table.sort_values(["miou", "method"], ascending=[False, True], na_position="last", kind="stable").round(6)
