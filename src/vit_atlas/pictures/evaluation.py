"""The picture of the stage evaluate, and what is written beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas import paths
from vit_atlas.data.manifest import Manifest
from vit_atlas.evaluation.predict import worst_mistakes
from vit_atlas.figures.evaluation import Mistake, draw_mistakes
from vit_atlas.figures.style import save
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.io.frames import write_csv


def write_and_draw(
    table: pd.DataFrame, baseline: Mapping[str, Any], features: np.ndarray, manifest: Manifest, mistakes: int
) -> None:
    """Write what :func:`vit_atlas.evaluation.predict.predict` found, and draw at most ``mistakes`` wrong guesses.

    Raises:
        AtlasError: a photo cannot be opened.
    """
    write_csv(paths.PREDICTIONS, table)
    write_json(paths.PROBE_PREDICTIONS, baseline)
    write_arrays(paths.PROBE_FEATURES, {"test": features})
    worst = worst_mistakes(table, mistakes)
    answers = zip(manifest.find(worst["image_id"]), worst["predicted_name"], worst["confidence"], strict=True)
    drawn = [Mistake(photo.open(), photo.class_name, guess, confidence) for photo, guess, confidence in answers]
    save(draw_mistakes(drawn, len(table)), paths.MISTAKES)
