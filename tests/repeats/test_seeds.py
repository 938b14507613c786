"""The trainings of one result: read by params.yaml, compared photo by photo, forgotten with their seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tiny_settings import tiny, tiny_settings
from vit_atlas.errors import AtlasError
from vit_atlas.evaluation import summary
from vit_atlas.io.files import write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import CAPTION_REPEATS, CLASSES, PREDICTIONS, PROBE_PREDICTIONS, REPEATS, VALIDATION
from vit_atlas.repeats.seeds import forget_others, over_seeds
from vit_atlas.repeats.summary import trainings_metrics
from vit_atlas.settings import AttentionSettings, CaptionsSettings, FinetuneSettings

PHOTOS = 40


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def predictions(wrong: int) -> pd.DataFrame:
    """Photos of two classes, the first ``wrong`` of them taken for the other class."""
    labels = np.arange(PHOTOS) % 2
    guesses = np.where(np.arange(PHOTOS) < wrong, 1 - labels, labels)
    return pd.DataFrame(
        {
            "image_id": [f"{place}.png" for place in range(PHOTOS)],
            "path": "p",
            "split": "test",
            "label": labels,
            "class_name": np.array(["a", "b"])[labels],
            "prediction": guesses,
            "predicted_name": np.array(["a", "b"])[guesses],
            "confidence": 0.75,
            "correct": guesses == labels,
            "rank": 1 + (guesses != labels),
        }
    )


def evaluated(wrong: dict[int, int], repeats: list[int]) -> dict[str, Any]:
    """metrics/evaluate.json of a first training (seed 0) and repeats with so many wrong guesses each."""
    write_csv(PREDICTIONS, predictions(wrong[0]))
    for seed, count in wrong.items():
        if seed:
            # In another order, which must not matter.
            write_csv(REPEATS / str(seed) / "predictions.csv", predictions(count)[::-1])
    write_json(PROBE_PREDICTIONS, {"strength": 1.0, "predictions": (predictions(20)["prediction"]).tolist()})
    write_json(CLASSES, ["a", "b"])
    return dict(summary.summarise(tiny_settings(finetune={"repeats": repeats})).metrics)


def test_mean_spread_and_every_seed() -> None:
    found = evaluated({0: 10, 1: 12, 2: 5}, [1, 2])
    assert found["trainings"] == 3
    assert found["accuracy"] == 0.75, "the model that is delivered"
    assert found["accuracy_over_seeds"] == pytest.approx(np.mean([0.75, 0.7, 0.875]))
    assert found["accuracy_sd"] == pytest.approx(np.std([0.75, 0.7, 0.875], ddof=1))
    assert found["by_seed"]["2"] == pytest.approx({"accuracy": 0.875, "accuracy_minus_probe": 0.375})
    assert found["accuracy_minus_probe_over_seeds_low"] < 0.275 < found["accuracy_minus_probe_over_seeds_high"]


def test_one_training_says_nothing_of_a_spread() -> None:
    found = evaluated({0: 10}, [])
    assert not [name for name in found if "seed" in name or name == "trainings"]


def test_seeds_are_those_of_the_settings_whatever_lies_in_the_folder() -> None:
    found = evaluated({0: 10, 1: 12, 2: 5}, [2])
    assert list(found["by_seed"]) == ["0", "2"]


def test_what_is_missing_or_of_other_photos_is_one_sentence() -> None:
    with pytest.raises(AtlasError, match=r"finetune/7/predictions\.csv does not exist: run `dvc repro repeat@7` first"):
        evaluated({0: 10}, [7])
    write_csv(REPEATS / "1" / "predictions.csv", predictions(1)[:-1])
    with pytest.raises(AtlasError, match="is of other photos than the first training"):
        summary.summarise(tiny_settings(finetune={"repeats": [1]}))


def test_seeds_that_are_asked_for_no_more_are_forgotten() -> None:
    evaluated({0: 1, 1: 1, 2: 1}, [1, 2])
    VALIDATION.parent.mkdir(parents=True)
    write_csv(CAPTION_REPEATS / "3" / "words.csv", predictions(1))
    forget_others(tiny(FinetuneSettings, repeats=[2]), tiny(CaptionsSettings))
    assert not list(CAPTION_REPEATS.iterdir())
    assert {path.name for path in REPEATS.iterdir()} == {"first", "2"}


def test_a_difference_that_seeds_disagree_about_holds_zero() -> None:
    photos = np.random.default_rng(0).normal(0, 0.1, 100)
    found = over_seeds("x", np.stack([photos + 0.3, photos - 0.3]), 200, 0)
    assert found["x_over_seeds_low"] < 0 < found["x_over_seeds_high"]
    assert found["x_sd"] == pytest.approx(0.6 / 2**0.5)
    assert (found["x_over_seeds_low"], found["x_over_seeds_high"]) == (-1, 1), "no interval leaves what is possible"


def scores(shift: float) -> pd.DataFrame:
    """Scores of five photos; the head is chosen anew in every training, so its scores are left out."""
    rows = [
        {"image_id": str(photo), "class_name": "a", "method": method, "miou": value + shift * (method == "head_mean")}
        for photo in range(5)
        for method, value in (("head_mean", 0.5 + photo / 100), ("best_head", 0.9), ("gaussian", 0.25))
    ]
    return pd.DataFrame(rows).assign(mass=0.5, pointing=1.0, ap=0.5)


def test_map_scores_over_seeds() -> None:
    settings = tiny(AttentionSettings, methods=["head_mean", "best_head", "gaussian"])
    found = trainings_metrics({0: scores(0.0), 5: scores(0.1)}, settings)
    assert found["head_mean.miou_over_seeds"] == pytest.approx(0.57)
    assert found["head_mean.miou_over_gaussian_over_seeds"] == pytest.approx(0.32)
    assert found["by_seed"]["5"]["head_mean.miou"] == pytest.approx(0.62)
    assert found["gaussian.miou_sd"] == 0
    assert not [name for name in found if name.startswith("best_head")]
    assert trainings_metrics({0: scores(0.0)}, settings) == {}


def test_without_masks_nothing_is_scored() -> None:
    settings = tiny(AttentionSettings, methods=["head_mean", "gaussian"])
    found = trainings_metrics({0: scores(0.0)[:0], 5: scores(0.0)[:0]}, settings)
    assert found == {"trainings": 2, "by_seed": {"0": {}, "5": {}}}
