"""metrics/interventions.json and its table from build/interventions.csv, without a model.

A photo's value is the mean over fillings, so that no single filling decides; differences are paired by photo.
"""

from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.estimates import Estimate, holm
from vit_atlas.interventions.answers import ANSWERS, BACKGROUND, NAMES, by_photo
from vit_atlas.io.frames import read_csv
from vit_atlas.io.summary import Summary
from vit_atlas.paths import INTERVENTION_METRICS, INTERVENTIONS, INTERVENTIONS_BY_CLASS
from vit_atlas.settings import InterventionSettings, Settings

SIGNIFICANT = 0.05
"""Chance, over all classes together, of calling one a shortcut where there is none."""


def summarise(settings: Settings) -> Summary:
    """Read what the stage interventions measured.

    Raises:
        AtlasError: the table is missing.
    """
    table = read_csv(INTERVENTIONS, "interventions", NAMES)
    classes = by_class(table, settings.interventions)
    metrics = intervention_metrics(table, settings.interventions)
    metrics["shortcut_classes"] = list(classes.loc[classes["shortcut_p"] < SIGNIFICANT, "class_name"])
    return Summary(metrics, INTERVENTION_METRICS, {INTERVENTIONS_BY_CLASS: classes})


def intervention_metrics(table: pd.DataFrame, settings: InterventionSettings) -> dict[str, Any]:
    """All numbers; those that no photo has are None.

    Returns:
        ``photos``, ``photos_with_masks``, ``photos_with_background`` (a photo that the object's box fills is not asked
        for it), ``photos_with_emphasis_beside``; ``<answer>.accuracy`` of the whole photo, the object alone and the
        background alone, of the last two also by filling. Then differences, paired by photo:
        ``background_above_chance``, the background's accuracy less the share of the commonest class; ``needs_object``,
        the whole photo's accuracy less the background's; ``object_loss``, the whole photo's less the object's;
        ``highlight_effect`` and ``beside_effect``, by how much more the true class's probability falls without the
        highlight (or the emphasis beside the object) than without an equal area elsewhere.
    """
    correct = by_photo(table, "correct")
    probability = by_photo(table, "probability")

    def estimate(values: pd.Series) -> Estimate:
        return Estimate.mean(values.to_numpy(float), settings.bootstrap_samples, settings.seed)

    asked = table[table["intervention"] == BACKGROUND].drop_duplicates("image_id")["class_name"]
    commonest = float(asked.value_counts(normalize=True).max()) if len(asked) else np.nan
    metrics: dict[str, Any] = {
        "photos": len(correct),
        "photos_with_masks": int(correct["object_alone"].notna().sum()),
        "photos_with_background": len(asked),
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
        "needs_object": correct["whole"] - correct["background_alone"],
        "object_loss": correct["whole"] - correct["object_alone"],
        "highlight_effect": probability["without_elsewhere"] - probability["without_highlight"],
        "beside_effect": probability["without_beside_elsewhere"] - probability["without_beside"],
    }
    for name, values in differences.items():
        metrics |= estimate(values).flat(name)
    return metrics


def by_class(table: pd.DataFrame, settings: InterventionSettings) -> pd.DataFrame:
    """Tell class by class what is answered from the object and what from the background.

    A class that the model names whenever it sees nothing is always right on its own backgrounds, and no shortcut. So
    its own backgrounds are compared with those of the other classes: is its name given here more often than there, and
    more often than on the backgrounds of any one of them (or it may be what the model says where one class's cue is
    missing)? The test is Fisher's, exact and one-sided, for a class has few photos; Holm's correction covers all.

    Returns:
        One row a class: class_name, photos, the share of right answers by intervention (:data:`ANSWERS`),
        needs_object with its interval (whole less background, paired), named_on_others (share of the other classes'
        backgrounds that get this class's name) and shortcut_p, the corrected p-value; NaN without masks.
    """
    correct = by_photo(table, "correct")
    classes = table.drop_duplicates("image_id").set_index("image_id")["class_name"].reindex(correct.index)
    backgrounds = table[table["intervention"] == BACKGROUND]
    rows, p_values = [], []
    for name, photos in correct.groupby(classes):
        needs = Estimate.mean(photos["whole"] - photos[BACKGROUND], settings.bootstrap_samples, settings.seed)
        others, p_value = _named(backgrounds, str(name))
        p_values.append(p_value)
        shares = {answer: photos[answer].mean() for answer in ANSWERS}
        rows.append({"class_name": name, "photos": len(photos), **shares, **needs.flat("needs_object")})
        rows[-1]["named_on_others"] = others
    found = pd.DataFrame(rows)
    found["shortcut_p"] = holm(np.asarray(p_values))
    return found


def _named(backgrounds: pd.DataFrame, name: str) -> tuple[float, float]:
    """How often class ``name`` is named on other classes' backgrounds, and Fisher's p; NaN where either side lacks.

    A photo counts as named where most of its fillings are. p is 1 where another class's backgrounds get it as often.
    """
    from scipy.stats import fisher_exact

    named = (backgrounds["answer"] == name).groupby(backgrounds["image_id"]).mean() > 0.5
    classes = backgrounds.groupby("image_id")["class_name"].first()
    here, there = named[classes == name], named[classes != name]
    if here.empty or there.empty:
        return np.nan, np.nan
    if here.mean() <= there.groupby(classes).mean().max():
        return float(there.mean()), 1.0
    table = [[here.sum(), (~here).sum()], [there.sum(), (~there).sum()]]
    return float(there.mean()), float(fisher_exact(table, alternative="greater").pvalue)
