"""Is one result better? Two of the same settings are not, a worse one is worse, and what is missing is told."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from vit_atlas.cli import commands
from vit_atlas.comparison.compare import Comparison, compare
from vit_atlas.comparison.measures import of_predictions
from vit_atlas.comparison.paired import Measure, Row, compare_measure, judge
from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import write_json

from .conftest import predictions, write_result


def rows(found: Comparison) -> dict[str, Row]:
    return {row.name: row for row in found.rows}


def trained(noise: np.random.Generator, ability: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """The right answers of one training: photos are easy or hard for all of them, and each has luck of its own."""
    return ability + shift + noise.normal(0, 0.5, len(ability)) > -0.6


def test_a_worse_model_is_worse_and_a_better_one_better(tmp_path: Path, noise: np.random.Generator) -> None:
    ability = noise.normal(0, 1, 240)
    good = write_result(tmp_path / "good", predictions(trained(noise, ability)), noise.beta(8, 2, 40))
    bad = write_result(tmp_path / "bad", predictions(trained(noise, ability, -0.8)), noise.beta(2, 8, 40))
    down, up = rows(compare(good, bad)), rows(compare(bad, good))
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "relevance.mass"):
        assert (down[name].verdict, up[name].verdict) == ("worse", "better"), name
        assert down[name].difference.high < 0 < up[name].difference.low
        assert down[name].seen_from < -down[name].difference.value


def test_numbers_are_those_of_sklearn_and_the_metrics_file() -> None:
    from sklearn.metrics import balanced_accuracy_score, f1_score

    noise = np.random.default_rng(1)
    old, new = predictions(noise.random(61) < 0.7), predictions(noise.random(61) < 0.5)
    found = {one.name: compare_measure(one) for one in of_predictions([old], [new], list(old["image_id"]), 15)}
    answers = new["class_name"], new["predicted_name"]
    assert found["accuracy"].new == pytest.approx(new["correct"].mean())
    assert found["balanced_accuracy"].new == pytest.approx(balanced_accuracy_score(*answers))
    assert found["macro_f1"].new == pytest.approx(f1_score(*answers, average="macro"))
    assert found["ece"].new == pytest.approx(abs(new["correct"].mean() - 0.8))


def test_the_interval_is_the_paired_one(noise: np.random.Generator) -> None:
    old, new = noise.random(100), noise.random(100)
    sides = [values[None, :, None] for values in (old, new)]
    row = compare_measure(Measure("x", "x", 1, *sides, lambda totals: totals[:, 0] / 100))
    paired = Estimate.mean(new - old)
    assert (row.difference.value, row.difference.low, row.difference.high) == pytest.approx(
        (paired.value, paired.low, paired.high)
    )


def test_trainings_that_differ_among_themselves_decide_less(noise: np.random.Generator) -> None:
    base = noise.random(200)
    shifts = np.array([-0.05, 0.0, 0.05])
    old = (base + shifts[:, None])[..., None]
    one = Measure("x", "x", 1, old[1:2], old[1:2] + 0.03, lambda totals: totals[:, 0] / 200)
    several = Measure("x", "x", 1, old, old + 0.03, one.statistic)
    mixed = Measure("x", "x", 1, old, old[1:2] + 0.03, one.statistic)
    assert judge([compare_measure(one)])[0].verdict == "better"
    for measure in (several, mixed):
        row = judge([compare_measure(measure)])[0]
        assert row.verdict == "no difference seen"
        assert row.difference.low < 0 < row.difference.high


def test_holms_correction_over_the_table() -> None:
    p = [0.01, 0.04, 0.03, 0.005]
    judged = judge([Row("x", str(value), 1, 30, 0, 0, Estimate(0.1, 0.0, 0.2), 0.05, value) for value in p])
    assert [row.corrected for row in judged] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [row.verdict for row in judged] == ["better", "no difference seen", "no difference seen", "better"]


def test_words_of_another_captioner_may_be_anothers_luck_though_the_model_is_the_same(
    tmp_path: Path, noise: np.random.Generator
) -> None:
    table = predictions(noise.random(60) < 0.7)
    estimate = {"noun_mass": 0.40, "noun_mass_low": 0.38, "noun_mass_high": 0.42}
    verdicts = {}
    for captioner in ("1", "2"):
        sides = []
        for side, mass in (("1", 0.0), (captioner, 0.06)):
            folder = tmp_path / f"{captioner}-{mass}"
            write_result(folder, table)
            write_json(folder / "metrics/caption.json", {name: value + mass for name, value in estimate.items()})
            outs = [{"path": "build/model", "md5": "0"}, {"path": "build/captioner", "md5": side}]
            (folder / "dvc.lock").write_text(json.dumps({"stages": {"all": {"outs": outs}}}))
            sides.append(str(folder))
        verdicts[captioner] = rows(compare(*sides))["noun_mass"].verdict
    assert verdicts == {"1": "better", "2": "no difference seen"}


def test_other_test_photos_are_left_out_and_too_few_are_refused(tmp_path: Path, noise: np.random.Generator) -> None:
    table = predictions(noise.random(100) < 0.7)
    old, new = write_result(tmp_path / "old", table[:60]), write_result(tmp_path / "new", table[20:])
    found = compare(old, new)
    assert rows(found)["accuracy"].photos == found.photos == 40
    assert any("40 are in both and are compared, 20 are only in" in note for note in found.notes)
    few = write_result(tmp_path / "few", table[:29])
    with pytest.raises(AtlasError, match=r"have 29 test photos in common \(of 100 and 29\), and fewer than 30"):
        compare(write_result(tmp_path / "all", table), few)
    other = table.copy()
    other.loc[:4, "class_name"] = "fox"
    assert rows(compare(write_result(tmp_path / "fox", other), old))["accuracy"].photos == 55


def test_photos_that_changed_are_named_the_broken_ones_first(tmp_path: Path) -> None:
    old, new = predictions(np.arange(40) != 3), predictions(np.arange(40) != 7)
    found = compare(write_result(tmp_path / "old", old), write_result(tmp_path / "new", new))
    assert [(one.image_id, one.change) for one in found.changed] == [
        ("photo_0007.png", "wrong now"),
        ("photo_0003.png", "right now"),
    ]


def test_the_command_fails_on_worse_and_prints_tables(tmp_path: Path, noise: np.random.Generator) -> None:
    old = write_result(tmp_path / "old", predictions(np.arange(200) % 10 != 0))
    new = write_result(tmp_path / "new", predictions(np.arange(200) % 2 != 0, None))

    def run(*options: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(commands, ["compare", old, new, "--folder", str(tmp_path / "maps"), *options])
        return done.exit_code, done.stdout, done.stderr

    assert run()[0] == 0
    code, said, problem = run("--fail-on", "worse:accuracy")
    assert (code, problem) == (1, "worse: accuracy\n")
    assert said.splitlines()[-1].startswith("worse: accuracy")
    assert run("--fail-on", "worse:ece")[0] in (0, 1)
    code, _, problem = run("--fail-on", "worse:acuracy")
    assert code == 2
    assert "names acuracy, which cannot be compared here; it takes accuracy" in problem
    assert run("--fail-on", "better")[0] == 2
    marked = run("--markdown")[1]
    assert "| accuracy | 0.900 | 0.500 |" in marked
    assert "**worse**" in marked
    assert "Holm" in marked
    content = json.loads(run("--json")[1])
    assert content["rows"][0]["verdict"] == "worse"
    assert content["changed"][0]["change"] == "wrong now"


def test_names_cannot_write_markdown(tmp_path: Path) -> None:
    names = [f"<img src=x>|*a* {place}.png" for place in range(40)]
    old, new = predictions(np.arange(40) != 3, names), predictions(np.arange(40) != 7, names)
    folders = [write_result(tmp_path / side, table) for side, table in (("old", old), ("new", new))]
    done = CliRunner().invoke(commands, ["compare", *folders, "--folder", str(tmp_path / "maps"), "--markdown"])
    assert "<img" not in done.stdout
    assert r"&lt;img src=x&gt;\|\*a\* 7.png" in done.stdout


def test_repeats_of_both_results_count(tmp_path: Path, noise: np.random.Generator) -> None:
    folders = []
    for side in ("old", "new"):
        folder = write_result(tmp_path / side, predictions(noise.random(90) < 0.7))
        (tmp_path / side / "params.yaml").write_text("finetune: {seed: 0, repeats: [1, 2]}\n")
        for seed in (1, 2, 3):
            place = tmp_path / side / f"build/trainings/finetune/{seed}"
            place.mkdir(parents=True)
            predictions(noise.random(90) < 0.7).to_csv(place / "predictions.csv", index=False)
        folders.append(folder)
    found = compare(*folders)
    assert found.trainings == (3, 3), "seeds that params.yaml asks for no more do not count"
    tables = [pd.read_csv(path) for path in (tmp_path / "old").rglob("predictions.csv") if "3" not in path.parts]
    assert rows(found)["accuracy"].old == pytest.approx(np.mean([table["correct"].mean() for table in tables]))


def test_a_training_on_other_photos_is_left_out_and_told(tmp_path: Path, noise: np.random.Generator) -> None:
    table = predictions(noise.random(90) < 0.7)
    old, new = (write_result(tmp_path / side, table) for side in ("old", "new"))
    (tmp_path / "new/params.yaml").write_text("finetune: {seed: 0, repeats: [1, 2]}\ncaptions: {repeats: [1]}\n")
    words = pd.DataFrame({"image": ["a.png", "b.png"], "score": "noun_mass", "sum": 1.0, "count": 2})
    further = {"finetune/1/predictions.csv": table, "finetune/2/predictions.csv": table[10:]}
    for name, content in (further | {"captions/1/words.csv": words[1:]}).items():
        path = tmp_path / "new/build/trainings" / name
        path.parent.mkdir(parents=True)
        content.to_csv(path, index=False)
    for folder in (old, new):
        (Path(folder) / "build/captions").mkdir()
        words.to_csv(Path(folder) / "build/captions/words.csv", index=False)
    found = compare(old, new)
    assert found.trainings == (1, 2)
    (note,) = [note for note in found.notes if "other photos" in note]
    assert note.startswith(f"of {new}, 1 of 2 further trainings have a predictions.csv of other photos")
