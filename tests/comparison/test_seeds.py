"""Real trainings: two seeds of one setting are not told apart, and a training on a fifth of the photos is worse.

``seeds.npz`` holds what eight trainings of the sample said of its 240 test photos and how well their maps lay on 32 of
them (``stages/repeat.py`` with ``model.image_size: 112``, which is quick to train): seven with seeds of their own,
chosen before any of them was compared, and last one with every fifth training photo alone.
"""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vit_atlas.comparison import paired
from vit_atlas.comparison.compare import compare
from vit_atlas.io.arrays import read_arrays
from vit_atlas.io.files import write_json

SEEDS = read_arrays(Path(__file__).parent / "seeds.npz", "repeat")
FIFTH = len(SEEDS["guess"]) - 1
"""The training on a fifth of the photos; those before it differ in their seed alone."""


def write_training(folder: Path, place: int) -> str:
    """Lay one of the trainings out as the project's folder that it came from."""
    (folder / "build/attention").mkdir(parents=True)
    (folder / "dvc.yaml").touch()
    truth, guess = (SEEDS["classes"][labels] for labels in (SEEDS["truth"], SEEDS["guess"][place]))
    names = np.array([f"photo_{number:03d}.jpg" for number in range(len(truth))])
    columns = {"image_id": names, "class_name": truth, "predicted_name": guess}
    table = pd.DataFrame(columns | {"confidence": SEEDS["confidence"][place]})
    table.to_csv(folder / "build/predictions.csv", index=False)
    looks = [
        pd.DataFrame(
            {"image_id": names[SEEDS["scored"]], "method": method} | dict(zip(SEEDS["scores"], look, strict=True))
        )
        for method, look in zip(SEEDS["methods"], SEEDS["looks"][place], strict=True)
    ]
    pd.concat(looks).to_csv(folder / "build/attention/scores.csv", index=False)
    write_json(folder / "metrics/evaluate.json", {"accuracy": float((truth == guess).mean())})
    return str(folder)


@pytest.fixture
def trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(paired, "PERMUTATIONS", 999)
    return [write_training(tmp_path / str(place), place) for place in range(FIFTH + 1)]


def test_two_seeds_of_one_setting_are_told_apart_in_one_of_twenty_pairs_at_most(trainings: list[str]) -> None:
    pairs = list(combinations(trainings[:FIFTH], 2))
    assert len(pairs) == 21
    told = {pair: verdicts for pair in pairs if (verdicts := told_apart(*pair))}
    assert len(told) <= 1, told


def told_apart(old: str, new: str) -> list[str]:
    rows = [row for row in compare(old, new).rows if row.p is not None]
    assert len(rows) > 30
    return [f"{row.name} {row.verdict}" for row in rows if row.verdict != "no difference seen"]


def test_a_training_on_a_fifth_of_the_photos_is_worse(trainings: list[str]) -> None:
    for whole in trainings[:FIFTH]:
        verdicts = {row.name: row.verdict for row in compare(whole, trainings[FIFTH]).rows}
        assert verdicts["accuracy"] == verdicts["macro_f1"] == "worse"
