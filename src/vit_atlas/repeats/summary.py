"""metrics/attention.json with the map scores over all trainings beside those of the first."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.attention import summary as attention
from vit_atlas.attention.methods import METHODS, SCORES, forward_only
from vit_atlas.io.frames import read_csv
from vit_atlas.io.summary import Summary
from vit_atlas.paths import ATTENTION_DATA
from vit_atlas.repeats.seeds import finetune_tables, over_seeds
from vit_atlas.settings import AttentionSettings, Settings

TEXTS = ("image_id", "class_name", "method")

Metrics = dict[str, Any]


def summarise(settings: Settings) -> Summary:
    """Read what attn-viz wrote of the first training, and repeat of the others.

    Raises:
        AtlasError: a file is missing or cannot be read.
    """
    first = attention.summarise(settings)
    if not forward_only(settings.attention.methods):
        return first
    scores = read_csv(ATTENTION_DATA / "scores.csv", "attn-viz", TEXTS)
    tables = finetune_tables(settings.finetune, scores, "scores.csv", TEXTS)
    return replace(first, metrics={**first.metrics, **trainings_metrics(tables, settings.attention)})


def trainings_metrics(tables: Mapping[int, pd.DataFrame], settings: AttentionSettings) -> Metrics:
    """Scores over all trainings of the methods that repeats are scored by; nothing where there is one training alone.

    Args:
        tables: the scores of each training by its seed, as :attr:`vit_atlas.attention.study.Study.scores` has them.
        settings: methods, resamples and seed of the intervals.
    """
    if len(tables) == 1:
        return {}
    by_score = {
        score: [table.pivot_table(index="image_id", columns="method", values=score) for table in tables.values()]
        for score in SCORES
    }
    metrics: Metrics = {"trainings": len(tables)}
    each: dict[str, Metrics] = {str(seed): {} for seed in tables}
    for name in forward_only(settings.methods):
        values = {score: [table[name] for table in found if name in table] for score, found in by_score.items()}
        if "gaussian" in settings.methods and not METHODS[name].baseline:
            pairs = [table[name] - table["gaussian"] for table in by_score["miou"] if {name, "gaussian"} <= {*table}]
            values["miou_over_gaussian"] = pairs
        for score, columns in values.items():
            if len(columns) == len(tables):
                metrics |= over_seeds(
                    f"{name}.{score}",
                    np.stack(columns),
                    settings.bootstrap_samples,
                    settings.seed,
                    bounds=(0.0, 1.0) if score in SCORES else (-1.0, 1.0),
                )
                for seed, column in zip(each, columns, strict=True):
                    each[seed][f"{name}.{score}"] = float(column.mean())
    return metrics | {"by_seed": each}
