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

COLUMNS = ("image_id", "class_name", "intervention", "filling", "probability", "correct", "area")


def right_from_background(table: pd.DataFrame, count: int) -> list[str]:
    """Choose at most ``count`` photos (image_id) that are right from the background alone, the surest first."""
    correct, probability = by_photo(table, "correct"), by_photo(table, "probability")
    known = probability.loc[correct["background_alone"] > 0.5, "background_alone"]
    return list(known.sort_values(ascending=False, kind="stable").index[:count])


def by_photo(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean over fillings: photos (rows) by intervention (columns); NaN where a photo had no such intervention."""
    values = table.assign(**{column: table[column].astype(float)})
    found = values.pivot_table(index="image_id", columns="intervention", values=column, aggfunc="mean")
    return found.reindex(columns=list(FILLINGS))
