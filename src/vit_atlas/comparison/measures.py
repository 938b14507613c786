"""The numbers that two results have in common, photo by photo, from the tables of both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vit_atlas.attention.methods import METHODS, SCORES, without_baselines
from vit_atlas.comparison.paired import Measure
from vit_atlas.errors import AtlasError
from vit_atlas.interventions.answers import by_photo

Array = np.ndarray
Tables = Sequence[pd.DataFrame]
"""One table a training, the first training's first."""

FEWEST = 30
"""Test photos in common below which nothing is compared."""

PREDICTED = {"accuracy": 1, "balanced_accuracy": 1, "macro_f1": 1, "ece": -1}
INTERVENED = {
    "object_alone.accuracy": 1,
    "background_alone.accuracy": -1,
    "needs_object": 1,
    "object_loss": -1,
    "highlight_effect": 0,
    "beside_effect": -1,
}
CAPTIONED = {
    "noun_mass": 1,
    "noun_pointing": 1,
    "noun_mass_over_gaussian": 1,
    "article_noun_correlation": 0,
    "noun_entropy": 0,
    "relation_entropy": 0,
}
"""Names in the metrics files, and whether more is better (1), less is (-1), or neither is said (0). Answers from the
background, or from emphasis beside the object, count against a model."""


SPREADS = {"attention": 0.03, "caption": 0.03, "article_noun_correlation": 0.15}
"""Standard deviations between trainings with other seeds, by part or name, as measured on the sample: for where each
result was trained once. Maps and captions of another training move by more than photos explain (docs/results.md);
answers do not."""


def looked_at() -> dict[str, int]:
    """Names of the map scores, each better the higher it is; maps that know nothing of the model are left out."""
    kinds = (*SCORES, "faithfulness")
    return {f"{name}.{kind}": 1 for name in without_baselines() for kind in kinds if _has(name, kind)}


@dataclass(frozen=True)
class Common:
    """The test photos of two results."""

    ids: list[str]
    """Those that both have, under the same class."""
    only_old: int
    only_new: int
    relabelled: int
    """Photos that both have, under different classes."""


def in_common(old: pd.DataFrame, new: pd.DataFrame) -> Common:
    """Find the test photos that two tables of predictions have in common.

    Raises:
        AtlasError: they are fewer than :data:`FEWEST`.
    """
    before = dict(zip(old["image_id"], old["class_name"], strict=True))
    after = dict(zip(new["image_id"], new["class_name"], strict=True))
    shared = [name for name in after if name in before]
    same = [name for name in shared if before[name] == after[name]]
    if len(same) < FEWEST:
        raise AtlasError(
            f"the two results have {len(same)} test photos in common (of {len(before)} and {len(after)}), and fewer "
            f"than {FEWEST} decide nothing: compare results on the same photos and with the same settings data.*"
        )
    return Common(same, len(before) - len(shared), len(after) - len(shared), len(shared) - len(same))


def of_predictions(old: Tables, new: Tables, ids: Sequence[str], bins: int) -> Iterator[Measure]:
    """Accuracy, balanced accuracy, macro F1 and calibration error; the last only where confidences are known."""
    before, after = ([table.set_index("image_id").loc[list(ids)] for table in tables] for tables in (old, new))
    classes = sorted({name for table in [*before, *after] for name in (*table["class_name"], *table["predicted_name"])})
    sides = [np.stack([_answers(table, classes) for table in tables]) for tables in (before, after)]
    count = len(classes)

    def parts(totals: Array) -> tuple[Array, Array, Array]:
        return totals[:, :count], totals[:, count : 2 * count], totals[:, 2 * count :]

    def accuracy(totals: Array) -> Array:
        right, actual, _ = parts(totals)
        return right.sum(axis=1) / actual.sum(axis=1)

    def balanced(totals: Array) -> Array:
        right, actual, _ = parts(totals)
        shares = np.divide(right, actual, out=np.zeros_like(right), where=actual > 0)
        return shares.sum(axis=1) / (actual > 0).sum(axis=1)

    def macro_f1(totals: Array) -> Array:
        right, actual, guessed = parts(totals)
        either = actual + guessed
        return np.divide(2 * right, either, out=np.zeros_like(right), where=either > 0).mean(axis=1)

    for name, statistic in (("accuracy", accuracy), ("balanced_accuracy", balanced), ("macro_f1", macro_f1)):
        yield Measure("evaluate", name, PREDICTED[name], sides[0], sides[1], statistic)
    if all("confidence" in table for table in [*before, *after]):
        gaps = [np.stack([_gaps(table, bins) for table in tables]) for tables in (before, after)]
        yield Measure(
            "evaluate", "ece", PREDICTED["ece"], gaps[0], gaps[1], lambda sums: np.abs(sums).sum(axis=1) / len(ids)
        )


def of_scores(old: Tables, new: Tables) -> Iterator[Measure]:
    """Every map score of every method that both have."""
    for name, better in looked_at().items():
        method, kind = name.rsplit(".", 1)
        sides = [[_score(table, method, kind) for table in tables] for tables in (old, new)]
        yield from _of_values("attention", name, better, sides[0], sides[1])


def of_interventions(old: pd.DataFrame, new: pd.DataFrame) -> Iterator[Measure]:
    """Every answer after an intervention."""
    sides = [_intervened(table) for table in (old, new)]
    for name, better in INTERVENED.items():
        yield from _of_values("interventions", name, better, [sides[0][name]], [sides[1][name]])


def of_words(old: Tables, new: Tables) -> Iterator[Measure]:
    """Where the captioner looked for words; means over words, photos resampled."""
    for name, better in CAPTIONED.items():
        kinds = ("noun_mass", "noun_mass_gaussian") if name == "noun_mass_over_gaussian" else (name,)
        sides = [[_word_sums(table, kinds) for table in tables] for tables in (old, new)]
        ids = _shared_index([*sides[0], *sides[1]])
        if len(ids) < 2:
            continue
        values = [np.stack([table.loc[ids].to_numpy(float) for table in tables]) for tables in sides]
        yield Measure("caption", name, better, values[0], values[1], _mean_less_mean)


def _answers(table: pd.DataFrame, classes: Sequence[str]) -> Array:
    """(photos, 3 * classes): right answers, photos and guesses, each in the column of its class."""
    names = np.asarray(classes, dtype=object)
    actual = (table["class_name"].to_numpy(object)[:, None] == names).astype(float)
    guessed = (table["predicted_name"].to_numpy(object)[:, None] == names).astype(float)
    return np.concatenate([actual * guessed, actual, guessed], axis=1)


def _gaps(table: pd.DataFrame, bins: int) -> Array:
    """(photos, bins) right less confident, in the column of the confidence's bin."""
    confidence = table["confidence"].to_numpy(float)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    right = (table["class_name"] == table["predicted_name"]).to_numpy(float)
    return np.eye(bins)[index] * (right - confidence)[:, None]


def _has(method: str, kind: str) -> bool:
    return kind != "faithfulness" or METHODS[method].ranks_patches


def _score(table: pd.DataFrame, method: str, kind: str) -> pd.Series:
    rows = table[table["method"] == method].set_index("image_id")
    if kind == "faithfulness":
        return (rows["insertion"] - rows["deletion"]).astype(float) if "insertion" in rows else pd.Series(dtype=float)
    return rows[kind].astype(float) if kind in rows else pd.Series(dtype=float)


def _intervened(table: pd.DataFrame) -> dict[str, pd.Series]:
    correct, probability = by_photo(table, "correct"), by_photo(table, "probability")
    return {
        "object_alone.accuracy": correct["object_alone"],
        "background_alone.accuracy": correct["background_alone"],
        "needs_object": correct["whole"] - correct["background_alone"],
        "object_loss": correct["whole"] - correct["object_alone"],
        "highlight_effect": probability["without_elsewhere"] - probability["without_highlight"],
        "beside_effect": probability["without_beside_elsewhere"] - probability["without_beside"],
    }


def _word_sums(table: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    sums = table.pivot_table(index="image", columns="score", values=["sum", "count"], aggfunc="sum")
    columns = {
        (kind, part): sums.get((part, kind), pd.Series(0.0, sums.index)) for kind in kinds for part in ("sum", "count")
    }
    return pd.DataFrame(columns).fillna(0.0)


def _mean_less_mean(totals: Array) -> Array:
    """The mean of (sum, count), less that of a second pair where there is one."""
    mean = totals[:, 0] / totals[:, 1]
    return mean if totals.shape[1] == 2 else mean - totals[:, 2] / totals[:, 3]


def _of_values(
    part: str, name: str, better: int, old: Sequence[pd.Series], new: Sequence[pd.Series]
) -> Iterator[Measure]:
    """Give the mean of a value on the photos where all trainings of both have it; nothing where these are under two."""
    # Trainings after the first may lack the number: a repeat has no chosen head.
    olds, news = ([side[0], *(more for more in side[1:] if len(more.dropna()))] for side in (old, new))
    ids = _shared_index([values.dropna() for values in (*olds, *news)])
    if len(ids) >= 2:
        sides = [np.stack([values.loc[ids].to_numpy(float) for values in side])[..., None] for side in (olds, news)]
        yield Measure(part, name, better, sides[0], sides[1], lambda totals: totals[:, 0] / len(ids))


def _shared_index(tables: "Sequence[pd.Series | pd.DataFrame]") -> list[str]:
    found = set(tables[0].index)
    for table in tables[1:]:
        found &= set(table.index)
    return sorted(found)
