"""Pictures of what the stages keep as tables (DVC draws those itself): for the report and for MLflow."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from vit_atlas import paths
from vit_atlas.data.manifest import read_classes
from vit_atlas.figures.evaluation import draw_confusion, draw_history, draw_reliability


def table_figures() -> dict[str, Figure]:
    """Draw the tables that are there: ``training_curves``, ``confusion`` and ``reliability``, in this order."""
    drawings: dict[str, tuple[Path, Callable[[pd.DataFrame], Figure]]] = {
        "training_curves": (paths.HISTORY, draw_history),
        "confusion": (paths.CONFUSION, lambda table: draw_confusion(table, _classes(table))),
        "reliability": (paths.RELIABILITY, draw_reliability),
    }
    return {name: draw(_read(path)) for name, (path, draw) in drawings.items() if path.is_file()}


def _read(path: Path) -> pd.DataFrame:
    # A class may be called "NA" or "null"; only the numbers' empty cells mean that nothing was measured.
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def _classes(table: pd.DataFrame) -> list[str]:
    if paths.CLASSES.is_file():
        return read_classes()
    return sorted({*table["actual"].astype(str), *table["predicted"].astype(str)})
