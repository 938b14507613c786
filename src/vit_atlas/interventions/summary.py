"""metrics/interventions.json and its table from build/interventions.csv, without a model.

A photo's value is the mean over fillings, so that no single filling decides; differences are paired by photo.
"""

from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.estimates import Estimate
from vit_atlas.interventions.answers import ANSWERS, by_photo
from vit_atlas.io.frames import read_csv
from vit_atlas.io.summary import Summary
from vit_atlas.paths import INTERVENTION_METRICS, INTERVENTIONS, INTERVENTIONS_BY_CLASS
from vit_atlas.settings import InterventionSettings, Settings


def summarise(settings: Settings) -> Summary:
    """Read what the stage interventions measured.

    Raises:
        AtlasError: the table is missing.
    """
    table = read_csv(INTERVENTIONS, "interventions", ("image_id", "class_name", "intervention", "filling"))
    metrics = intervention_metrics(table, settings.interventions)
    return Summary(metrics, INTERVENTION_METRICS, {INTERVENTIONS_BY_CLASS: by_class(table)})


def intervention_metrics(table: pd.DataFrame, settings: InterventionSettings) -> dict[str, Any]:
    """All numbers; those that no photo has are None.

    Returns:
        ``photos``, ``photos_with_masks``, ``photos_with_emphasis_beside``; ``<answer>.accuracy`` of the whole photo,
        the object alone and the background alone, of the last two also by filling. Then differences, paired by photo:
        ``background_above_chance``, the background's accuracy less the share of the commonest class; ``needs_object``,
        the whole photo's accuracy less the background's; ``object_loss``, the whole photo's less the object's;
        ``highlight_effect`` and ``beside_effect``, by how much more the true class's probability falls without the
        highlight (or the emphasis beside the object) than without an equal area elsewhere.
    """
    correct = by_photo(table, "correct")
    probability = by_photo(table, "probability")

    def estimate(values: pd.Series) -> Estimate:
        return Estimate.mean(values.to_numpy(float), settings.bootstrap_samples, settings.seed)

    masked = correct["background_alone"].notna()
    chance = table.drop_duplicates("image_id").loc[lambda photos: photos["image_id"].isin(masked.index[masked])]
    commonest = float(chance["class_name"].value_counts(normalize=True).max()) if len(chance) else np.nan
    metrics: dict[str, Any] = {
        "photos": len(correct),
        "photos_with_masks": int(masked.sum()),
        "photos_with_emphasis_beside": int(correct["without_beside"].notna().sum()),
        **estimate(correct["whole"]).flat("whole.accuracy"),
    }
    for name in ANSWERS[1:]:
        metrics |= estimate(correct[name]).flat(f"{name}.accuracy")
        for filling in ("blur", "mean", "other"):
            rows = table[(table["intervention"] == name) & (table["filling"] == filling)]
            metrics[f"{name}.{filling}.accuracy"] = float(rows["correct"].mean()) if len(rows) else None
    differences = {
        "background_above_chance": correct["background_alone"] - commonest,
        "needs_object": (correct["whole"] - correct["background_alone"])[masked],
        "object_loss": (correct["whole"] - correct["object_alone"])[masked],
        "highlight_effect": probability["without_elsewhere"] - probability["without_highlight"],
        "beside_effect": probability["without_beside_elsewhere"] - probability["without_beside"],
    }
    for name, values in differences.items():
        metrics |= estimate(values).flat(name)
    return metrics


def by_class(table: pd.DataFrame) -> pd.DataFrame:
    """Share of right answers of each class on the whole photo, the object alone and the background alone."""
    correct = by_photo(table, "correct")
    classes = table.drop_duplicates("image_id").set_index("image_id")["class_name"]
    grouped = correct[list(ANSWERS)].groupby(classes)
    found = grouped.mean().round(6).reset_index(names="class_name")
    found.insert(1, "photos", grouped.size().to_numpy())
    return found
