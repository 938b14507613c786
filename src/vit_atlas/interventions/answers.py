"""The table of answers after interventions: its columns, and how it is read photo by photo. No model is needed."""

import pandas as pd

OBJECT, BACKGROUND = "object_alone", "background_alone"
HIGHLIGHT, ELSEWHERE = "without_highlight", "without_elsewhere"
BESIDE, BESIDE_ELSEWHERE = "without_beside", "without_beside_elsewhere"
WHOLE = "whole"
FILLINGS = {
    WHOLE: ("none",),
    OBJECT: ("blur", "mean", "other"),
    BACKGROUND: ("blur", "mean", "other"),
    HIGHLIGHT: ("blur", "mean"),
    ELSEWHERE: ("blur", "mean"),
    BESIDE: ("blur", "mean"),
    BESIDE_ELSEWHERE: ("blur", "mean"),
}
"""Interventions, and what each puts in the place of what it takes away: what is left of the photo, blurred; its mean
colour; or the background of a photo of another class."""

ANSWERS = (WHOLE, OBJECT, BACKGROUND)
"""Interventions whose accuracy is reported separately."""

COLUMNS = ("image_id", "class_name", "intervention", "filling", "probability", "correct", "answer", "area")

NAMES = ("image_id", "class_name", "intervention", "filling", "answer")
"""Columns of names, which stay text."""

CARRIES = 0.1
"""Fall of the true class's probability from which on what was taken away is said to carry the answer."""


def right_from_background(table: pd.DataFrame, count: int) -> list[str]:
    """Choose at most ``count`` photos (image_id) that are right from the background alone, the surest first."""
    correct, probability = by_photo(table, "correct"), by_photo(table, "probability")
    known = probability.loc[correct[BACKGROUND] > 0.5, BACKGROUND]
    return list(known.sort_values(ascending=False, kind="stable").index[:count])


def strangest(table: pd.DataFrame, count: int) -> list[str]:
    """Choose at most ``count`` photos (image_id) whose answer does not come from the object, the strangest first.

    They are right from the background alone (as strange as the model is sure), or lose more of their class's
    probability without the emphasis beside the object than without an equal area there (as strange as they lose).
    """
    probability = by_photo(table, "probability")
    alone = probability.loc[right_from_background(table, len(table)), BACKGROUND]
    lost = probability[BESIDE_ELSEWHERE] - probability[BESIDE]
    strange = pd.concat([alone, lost.where(lost >= CARRIES)], axis="columns").max(axis="columns").dropna()
    return list(strange.sort_values(ascending=False, kind="stable").index[:count])


def by_photo(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over fillings: photos (rows) by intervention (columns); NaN where a photo had no such intervention."""
    values = table.assign(**{column: table[column].astype(float)})
    found = values.pivot_table(index="image_id", columns="intervention", values=column, aggfunc="mean")
    return found.reindex(columns=list(FILLINGS))
