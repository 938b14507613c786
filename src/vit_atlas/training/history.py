"""build/history.csv: one row a logging step, with the validation result where one was taken."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

COLUMNS = ("step", "epoch", "train_loss", "learning_rate", "val_loss", "val_accuracy")
"""``step`` counts optimiser steps from 1, ``epoch`` passes over the photos; ``train_loss`` is the mean since the row
before, label smoothing included; ``learning_rate`` is that of the last block; validation is without smoothing."""

_FROM_TRAINER = {
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "eval_loss": "val_loss",
    "eval_accuracy": "val_accuracy",
}


def curve_points(logged: Mapping[str, Any]) -> dict[str, float]:
    """The columns of the history that one log of the Trainer holds."""
    return {column: float(logged[name]) for name, column in _FROM_TRAINER.items() if name in logged}


def history_table(log_history: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Merge the Trainer's logs into one row a step, with :data:`COLUMNS`."""
    rows: dict[int, dict[str, float]] = {}
    for logged in log_history:
        points = curve_points(logged)
        if points:
            row = rows.setdefault(int(logged["step"]), {"step": logged["step"], "epoch": round(logged["epoch"], 4)})
            row.update({name: float(f"{value:.8g}") for name, value in points.items()})
    return pd.DataFrame([rows[step] for step in sorted(rows)], columns=list(COLUMNS))
