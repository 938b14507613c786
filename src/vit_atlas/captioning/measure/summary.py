"""metrics/caption.json from what caption-attn wrote, without a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.captioning.model.vocabulary import words_of
from vit_atlas.estimates import SAMPLES, Estimate
from vit_atlas.io.files import read_json
from vit_atlas.io.frames import read_csv
from vit_atlas.io.summary import Summary
from vit_atlas.paths import CAPTION_DATA, CAPTION_METRICS, CAPTION_REPEATS, CAPTIONS
from vit_atlas.repeats.seeds import over_seeds
from vit_atlas.settings import Settings

OFF = {"captions": "off: captioner.kind is none"}
"""Content of metrics/caption.json where nothing is captioned."""

BASELINES = ("uniform", "gaussian", "caption")
"""Maps beside a noun's: an even one, a Gaussian in the centre, and the mean of all words of the caption."""

NOUN = ("noun_mass", "noun_pointing", "noun_iou")

DIFFERENCES = {
    **{f"{name}_over_{other}": (name, f"{name}_{other}") for name in NOUN for other in ("gaussian", "caption")},
    "article_noun_over_others": ("article_noun_correlation", "other_neighbours_correlation"),
    "relation_over_noun_entropy": ("relation_entropy", "noun_entropy"),
    "relation_over_noun_lesser_mass": ("relation_lesser_mass", "noun_lesser_mass"),
}
"""Difference -> the two numbers of metrics/caption.json, the first less the second."""

RATIOS = {"noun_mass_to_uniform": ("noun_mass", "noun_mass_uniform")}
"""Ratio -> the two numbers of metrics/caption.json, the first by the second."""

PHOTOS_WITH = {
    "nouns": "noun_mass",
    "articles": "article_noun_correlation",
    "relations": "relation_entropy",
    "both_objects": "relation_lesser_mass",
}
"""What photos are counted by -> the score that they have then."""

OVER_SEEDS = tuple(dict.fromkeys(key for pair in DIFFERENCES.values() for key in pair if not key.endswith(BASELINES)))
"""Numbers whose mean over several trainings is told beside the differences'."""

TEXTS = ("image", "score")


def summarise(settings: Settings) -> Summary:
    """Read what the stage caption-attn wrote.

    Raises:
        AtlasError: a file is missing or cannot be read.
    """
    if settings.captioner.kind == "none":
        return Summary(OFF, CAPTION_METRICS)
    table = read_csv(CAPTIONS, "caption-attn", ("image", "caption", "reference"))
    words = read_csv(CAPTION_DATA / "words.csv", "caption-attn", TEXTS)
    facts = read_json(CAPTION_DATA / "facts.json")
    metrics = caption_metrics(table, words, facts)
    if settings.captioner.kind == "trained" and settings.captions.repeats:
        first = {settings.captioner.seed: (words, facts)}
        metrics |= trainings_metrics(first | {seed: _repeat(seed) for seed in settings.captions.repeats})
    return Summary(metrics, CAPTION_METRICS)


def _repeat(seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    folder = CAPTION_REPEATS / str(seed)
    return read_csv(folder / "words.csv", f"caption-repeat@{seed}", TEXTS), read_json(folder / "facts.json")


def trainings_metrics(trainings: Mapping[int, tuple[pd.DataFrame, Mapping[str, Any]]]) -> dict[str, Any]:
    """What the words' maps say over several trainings, with intervals over photos and seeds.

    Args:
        trainings: by seed, the scores of words and the facts, as :func:`caption_metrics` takes them.
    """
    sums = [_sums(words) for words, _ in trainings.values()]
    photos = sorted({image for table in sums for image in table.index})
    sums = [table.reindex(photos) for table in sums]
    metrics: dict[str, Any] = {"trainings": len(trainings)}
    each: list[dict[str, Any]] = [{"bleu_4": facts["bleu_4"]} for _, facts in trainings.values()]
    for name, keys in ({name: (name,) for name in OVER_SEEDS} | DIFFERENCES | RATIOS).items():
        columns = [(kind, key) for key in keys for kind in ("sum", "count")]
        rows = np.stack([np.column_stack([_column(table, *column) for column in columns]) for table in sums])
        rows = rows[:, rows[:, :, 1::2].sum(axis=(0, 2)) > 0]
        statistic = _share if len(keys) == 1 else _ratio_of_means if name in RATIOS else _difference_of_means
        least = -1.0 if name in DIFFERENCES or name.endswith("correlation") else 0.0
        bounds = (least, np.inf if name in RATIOS else 1.0)
        metrics |= over_seeds(name, rows, SAMPLES, 0, statistic, bounds=bounds)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = statistic(rows.sum(axis=1))
        for place, value in enumerate(values.tolist()):
            each[place][name] = value if np.isfinite(value) else None
    return metrics | {"by_seed": dict(zip(map(str, trainings), each, strict=True))}


def caption_metrics(table: pd.DataFrame, words: pd.DataFrame, facts: dict[str, Any]) -> dict[str, Any]:
    """All numbers of the captions; None where no caption had what one needs.

    Photos are resampled, not words, for the words of one caption are not independent of each other.

    Args:
        table: one row a photo.
        words: one row a photo and score, with the sum and the count of its values.
        facts: scores of the texts, and warnings.
    """
    sums = _sums(words)
    layers = sum(name.startswith("noun_mass_layer_") for name in words["score"].unique())
    by_layer = [f"noun_mass_layer_{layer}" for layer in range(1, layers + 1)]
    sentences = ["article_noun_correlation", "other_neighbours_correlation", "noun_entropy", "relation_entropy"]
    balance = [f"{kind}_{part}_mass" for kind in ("noun", "relation") for part in ("both", "lesser")]
    metrics = {
        "photos": len(table),
        "photos_with_captions": facts["photos_with_captions"],
        **{name: value for name, value in facts.items() if name not in ("photos_with_captions", "warnings")},
        "words_per_caption": float(np.mean([len(words_of(text)) for text in table["caption"]])),
        "cut_captions": float((~table["ended"].astype(bool)).mean()),
        "nouns_scored": _count(sums, "noun_mass"),
        **{
            f"photos_with_{what}": int((_column(sums, "count", score) > 0).sum()) for what, score in PHOTOS_WITH.items()
        },
        **{name: value for score in NOUN for name, value in _beside_baselines(sums, score).items()},
        **{name: _mean(sums, name) for name in ("noun_at_chance", *by_layer)},
        "article_noun_pairs": _count(sums, "article_noun_correlation"),
        "relation_words": _count(sums, "relation_entropy"),
        **{name: _mean(sums, name) for name in (*sentences, *balance)},
    }
    for name, pair in (DIFFERENCES | RATIOS).items():
        statistic = _ratio_of_means if name in RATIOS else _difference_of_means
        metrics |= Estimate.of_totals(_rows(sums, *pair), statistic).flat(name)
    return metrics | {"warnings": facts["warnings"]}


def _sums(words: pd.DataFrame) -> pd.DataFrame:
    """Sums and counts of every score, one row a photo."""
    return words.pivot_table(index="image", columns="score", values=["sum", "count"], aggfunc="sum")


def _rows(sums: pd.DataFrame, *names: str) -> np.ndarray:
    """Sums and counts (photos, 2 a score) of scores, of the photos that have any."""
    rows = np.column_stack([_column(sums, kind, name) for name in names for kind in ("sum", "count")])
    return rows[rows[:, 1::2].sum(axis=1) > 0]


def _beside_baselines(sums: pd.DataFrame, score: str) -> dict[str, float | None]:
    """A score of the nouns' maps with its interval, and that of each baseline."""
    own = Estimate.of_totals(_rows(sums, score), _share).flat(score)
    return own | {f"{score}_{name}": _mean(sums, f"{score}_{name}") for name in BASELINES}


def _column(sums: pd.DataFrame, kind: str, name: str) -> np.ndarray:
    """Sums or counts (photos,) of a score; zero where a photo does not have it."""
    if (kind, name) not in sums.columns:
        return np.zeros(len(sums))
    return sums[kind, name].fillna(0).to_numpy(float)


def _count(sums: pd.DataFrame, name: str) -> int:
    return int(_column(sums, "count", name).sum())


def _mean(sums: pd.DataFrame, name: str) -> float | None:
    count = _count(sums, name)
    return float(_column(sums, "sum", name).sum() / count) if count else None


def _share(totals: np.ndarray) -> np.ndarray:
    """Means of rows (sum, count); NaN where the count is zero."""
    return np.asarray(totals[:, 0] / totals[:, 1])


def _difference_of_means(totals: np.ndarray) -> np.ndarray:
    """Of each row (sum, count, sum, count); NaN where a count is zero."""
    return totals[:, 0] / totals[:, 1] - totals[:, 2] / totals[:, 3]


def _ratio_of_means(totals: np.ndarray) -> np.ndarray:
    """Of each row (sum, count, sum, count); NaN where a count is zero."""
    return np.asarray((totals[:, 0] / totals[:, 1]) / (totals[:, 2] / totals[:, 3]))
