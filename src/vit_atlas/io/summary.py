"""The part of a result that is committed to git: one metrics/*.json and the tables behind its charts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from vit_atlas.io.files import write_json
from vit_atlas.io.frames import write_csv

DECIMALS = 5
"""Of the numbers that git keeps: most are shares of at most some thousands of photos, and what moves by less than 1e-5
is another processor's arithmetic, which would only fill the tables of `dvc exp diff`."""


@dataclass(frozen=True)
class Summary:
    """Metrics and tables of one subpackage, computed from its stage's outputs without a model."""

    metrics: Mapping[str, Any]
    """Content of :attr:`path`: numbers, and texts that explain them."""
    path: Path
    """Such as metrics/evaluate.json."""
    tables: Mapping[Path, pd.DataFrame] = field(default_factory=dict)
    """Content of plots/**/*.csv by path."""


def write_summary(summary: Summary) -> None:
    """Write metrics and tables, each file atomically."""
    for path, table in summary.tables.items():
        write_csv(path, table.round(DECIMALS))
    write_json(summary.path, summary.metrics, DECIMALS)
