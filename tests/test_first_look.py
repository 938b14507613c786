"""The page while maps and captions are still being made."""

import runpy
from pathlib import Path

import pytest

from tests.evaluation.test_evaluate import STAGE, project
from vit_atlas.first_look import first_look
from vit_atlas.io.files import read_json, write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import HISTORY
from vit_atlas.settings import load_settings
from vit_atlas.training.history import history_table
from vit_atlas.training.record import record_training

__all__ = ["project"]


def files() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*")}


def test_it_tells_what_is_known_and_nothing_of_an_older_result(project: Path) -> None:
    write_json("build/prepared/summary.json", {"photos": 27, "classes": 3, "train": 9, "val": 9, "test": 9})
    write_json("metrics/attention.json", {"warnings": ["an older warning"]})
    write_json("metrics/evaluate.json", {"accuracy": 0.123456})
    runpy.run_path(str(STAGE), run_name="__main__")
    before = files()
    page = first_look(load_settings())
    assert files() == before, "nothing is left behind"
    assert read_json("metrics/evaluate.json") == {"accuracy": 0.123456}
    assert "an older warning" not in page
    assert "12.3%" not in page
    assert "metrics/attention.json is missing" in page
    assert "of 9 test photos" in page or "9 test photos" in page


def test_it_tells_when_and_on_what_the_training_ran(project: Path) -> None:
    write_json("build/prepared/summary.json", {"photos": 27, "classes": 3, "train": 9, "val": 9, "test": 9})
    write_csv(HISTORY, history_table([{"step": 1, "epoch": 1.0, "loss": 0.5}]))
    record_training("an odd device", "float32", 90.0, resumed=False)
    runpy.run_path(str(STAGE), run_name="__main__")
    page = first_look(load_settings())
    assert "in 2 min, on an odd device, in float32" in page


def test_before_evaluate_it_is_one_sentence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Path(__file__).parents[1] / "scripts" / "first-look"
    write_json("build/prepared/summary.json", {"photos": 27})
    with pytest.raises(SystemExit):
        runpy.run_path(str(script), run_name="__main__")
    assert "dvc repro evaluate" in capsys.readouterr().err
    assert not Path("report").exists()
