"""The trainings that one result consists of: the first and its repeats, and the numbers over them.

Which repeats there are is asked of params.yaml alone: DVC leaves the outs of a seed on the disk that is asked for no
more.
"""

import shutil
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.io.frames import read_csv
from vit_atlas.paths import CAPTION_REPEATS, REPEATS, VALIDATION
from vit_atlas.settings import CaptionsSettings, FinetuneSettings


def finetune_tables(
    settings: FinetuneSettings, first: pd.DataFrame, name: str, texts: Sequence[str]
) -> dict[int, pd.DataFrame]:
    """Read a table of every repeat of finetune.

    Args:
        settings: name the seeds.
        first: the table of the first training.
        name: of the file, such as ``predictions.csv``.
        texts: see :func:`vit_atlas.io.frames.read_csv`.

    Returns:
        Seed -> table, the first training's first; that one alone where there are no repeats.

    Raises:
        AtlasError: a table is missing, cannot be read, or is of other photos than ``first``.
    """
    tables = {settings.seed: first}
    for seed in settings.repeats:
        path = REPEATS / str(seed) / name
        tables[seed] = read_csv(path, f"repeat@{seed}", texts)
        if set(tables[seed]["image_id"]) != set(first["image_id"]):
            raise AtlasError(f"{path} is of other photos than the first training: run `dvc repro`")
    return tables


def over_seeds(
    name: str,
    rows: np.ndarray,
    samples: int,
    seed: int,
    statistic: Callable[[np.ndarray], np.ndarray] = lambda totals: totals[:, 0] / totals[:, 1],
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> dict[str, float | None]:
    """The mean over trainings with its interval, as ``<name>_over_seeds``, and their standard deviation, ``<name>_sd``.

    Args:
        name: of the number.
        rows: (trainings, photos), values, NaN where a photo has none; or (trainings, photos, K), see
            :meth:`vit_atlas.estimates.Estimate.over_trainings`.
        samples: resamples behind the interval.
        seed: of the resampling.
        statistic: needed for (trainings, photos, K) alone.
        bounds: what the number cannot leave, nor can its interval.
    """
    if rows.ndim == 2:
        known = ~np.isnan(rows)
        rows = np.stack([np.where(known, rows, 0.0), known.astype(float)], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = statistic(rows.sum(axis=1))
    each = each[np.isfinite(each)]
    deviation = float(each.std(ddof=1)) if len(each) > 1 else None
    estimate = Estimate.over_trainings(rows, statistic, samples, seed)
    if estimate.low is not None and estimate.high is not None:
        least, most = bounds
        estimate = Estimate(estimate.value, max(estimate.low, least), min(estimate.high, most))
    return {**estimate.flat(f"{name}_over_seeds"), f"{name}_sd": deviation}


def forget_others(finetune: FinetuneSettings, captions: CaptionsSettings) -> None:
    """Remove what is left of seeds that are asked for no more: DVC would count it among what the result is made of.

    It comes back from DVC's cache when its seed does.
    """
    for folder, seeds in ((REPEATS, finetune.repeats), (CAPTION_REPEATS, captions.repeats)):
        kept = {VALIDATION.parent.name, *map(str, seeds)}
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)
