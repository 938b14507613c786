"""Results as folders: what the stages leave, for as many photos and of as good a model as a test asks for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vit_atlas.io.files import write_json

CLASSES = ("cat", "dog", "emu")


def predictions(right: np.ndarray, names: list[str] | None = None) -> pd.DataFrame:
    """Answers to photos, ``right`` or not."""
    photos = len(right)
    actual = np.array([CLASSES[place % 3] for place in range(photos)], dtype=object)
    other = np.array([CLASSES[(place + 1) % 3] for place in range(photos)], dtype=object)
    return pd.DataFrame(
        {
            "image_id": names or [f"photo_{place:04d}.png" for place in range(photos)],
            "class_name": actual,
            "predicted_name": np.where(right, actual, other),
            "confidence": 0.8,
            "correct": right,
        }
    )


def write_result(folder: Path, table: pd.DataFrame, mass: np.ndarray | None = None) -> str:
    """A project's folder with predictions, and with the map scores of one method where ``mass`` is given."""
    (folder / "build/attention").mkdir(parents=True, exist_ok=True)
    (folder / "dvc.yaml").touch()
    table.to_csv(folder / "build/predictions.csv", index=False)
    write_json(folder / "metrics/evaluate.json", {"accuracy": float(table["correct"].mean())})
    if mass is not None:
        scores = pd.DataFrame({"image_id": table["image_id"][: len(mass)], "method": "relevance", "mass": mass})
        scores.to_csv(folder / "build/attention/scores.csv", index=False)
    return str(folder)


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(0)
