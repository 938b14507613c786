"""evaluate: its numbers against hand-made ones, its answers against transformers' pipeline, its files on disk."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import pipeline

from tests.tiny_models import FAMILIES, save_pretrained, save_tiny
from tests.tiny_settings import params_text, tiny
from vit_atlas import paths
from vit_atlas.data.manifest import COLUMNS, Manifest, Photo
from vit_atlas.errors import AtlasError
from vit_atlas.evaluation.predict import predict, prediction_table, worst_mistakes
from vit_atlas.evaluation.summary import numbers, per_class_table, reliability_table, summarise
from vit_atlas.finetune.probe import fit_probe, read_probe, write_probe
from vit_atlas.io.files import read_json, write_json
from vit_atlas.io.frames import read_csv, write_csv
from vit_atlas.io.summary import write_summary
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.models.inference import forward
from vit_atlas.models.trunk import head_of, shared_blocks
from vit_atlas.report import charts
from vit_atlas.settings import EvaluateSettings, ModelSettings, load_settings
from vit_atlas.tracking.artifacts import collect

STAGE = Path(__file__).parents[2] / "stages" / "evaluate.py"
CLASSES = ["blue", "green", "red"]
COLOURS = {"blue": (30, 40, 200), "green": (30, 190, 60), "red": (210, 40, 30)}
SIZES = ((40, 30), (30, 50), (200, 12))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with 27 photos of three colours, in three splits, and a tiny random ViT as pretrained and as model."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(27):
        name = CLASSES[number % 3]
        split = ("train", "val", "test")[number // 3 % 3]
        width, height = SIZES[number // 9]
        pixels = np.asarray(COLOURS[name]) + generator.integers(-30, 30, (height, width, 3))
        path = Path("data/classification") / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        row = dict.fromkeys(COLUMNS, "")
        row |= {"image_id": f"{name}/{number}.png", "path": path.as_posix(), "split": split, "class_name": name}
        rows.append(row | {"label": CLASSES.index(name), "width": width, "height": height})
    Manifest(pd.DataFrame(rows)).write()
    write_json("build/prepared/classes.json", CLASSES)
    save_tiny("tiny", labels="abc", num_hidden_layers=2)
    pretrained = load_pretrained(tiny(ModelSettings, name="tiny"), CLASSES, seed=3)
    pretrained.save("build/model")
    splits = {name: Manifest.read().split(name) for name in ("train", "val")}
    features = {name: forward(None, pretrained, photos, 4, name).features for name, photos in splits.items()}
    write_probe(fit_probe(features, {name: photos.labels for name, photos in splits.items()}, 3), features)
    Path("params.yaml").write_text(
        params_text(
            model={"name": "tiny"},
            evaluate={"batch_size": 4, "bootstrap_samples": 100, "mistakes": 5, "reference_accuracy": 0.9},
        )
    )
    return tmp_path


def run_stage() -> None:
    """The stage, and what the stage metrics makes of it."""
    runpy.run_path(str(STAGE), run_name="__main__")
    write_summary(summarise(load_settings()))


# -- the stage as a whole


def test_stage_writes_what_it_declares(project: Path) -> None:
    run_stage()
    metrics = read_json("metrics/evaluate.json")
    predictions = pd.read_csv("build/predictions.csv")
    assert list(metrics)[:3] == ["accuracy", "accuracy_low", "accuracy_high"]
    assert metrics["photos"] == len(predictions) == 9
    assert metrics["accuracy"] == pytest.approx(predictions["correct"].mean(), abs=1e-5)
    assert metrics["distance_to_reference"] == pytest.approx(metrics["accuracy"] - 0.9, abs=1e-5)
    gain = metrics["accuracy"] - metrics["probe_accuracy"]
    assert metrics["accuracy_minus_probe"] == pytest.approx(gain, abs=2e-6)
    assert set(predictions["split"]) == {"test"}
    confusion = pd.read_csv("plots/evaluate/confusion.csv")
    assert list(confusion.columns) == ["actual", "predicted"]
    assert (confusion["actual"] == confusion["predicted"]).mean() == pytest.approx(metrics["accuracy"], abs=1e-5)
    assert pd.read_csv("plots/evaluate/reliability.csv")["count"].sum() == 9
    assert pd.read_csv("plots/evaluate/per_class.csv")["photos"].tolist() == [3, 3, 3]
    with Image.open("plots/evaluate/mistakes.png") as picture:
        assert picture.width > 300


def test_stage_twice_gives_the_same_bytes(project: Path) -> None:
    outs = (
        "build/predictions.csv",
        "metrics/evaluate.json",
        "plots/evaluate/mistakes.png",
        "plots/evaluate/per_class.csv",
    )
    run_stage()
    first = [Path(name).read_bytes() for name in outs]
    run_stage()
    assert [Path(name).read_bytes() for name in outs] == first


def test_predictions_are_those_of_the_pipeline(project: Path) -> None:
    run_stage()
    table = pd.read_csv("build/predictions.csv")
    classifier = pipeline("image-classification", "build/model", device="cpu")
    for row in table.to_dict("records"):
        best = classifier(row["path"], top_k=1)[0]
        assert best["label"] == row["predicted_name"]
        assert best["score"] == pytest.approx(row["confidence"], abs=1e-4)


def test_without_probe_the_pretrained_model_is_not_loaded(project: Path) -> None:
    Path("params.yaml").write_text(params_text(model={"name": "nowhere"}, evaluate={"bootstrap_samples": 100}))
    write_probe(None, {})
    run_stage()
    assert not [key for key in read_json("metrics/evaluate.json") if "probe" in key or "reference" in key]


def test_each_test_photo_is_opened_once_and_no_other(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = Photo.open

    def counting(photo: Photo) -> Image.Image:
        seen.append(photo.path)
        return original(photo)

    monkeypatch.setattr(Photo, "open", counting)
    run_stage()
    drawn = len(seen) - len(Manifest.read().split("test"))
    assert seen[: -drawn or None] == Manifest.read().split("test").paths


def test_the_probe_is_asked_what_the_pretrained_model_sees_in_test_photos(project: Path) -> None:
    run_stage()
    probe, pretrained = read_probe(), load_pretrained(tiny(ModelSettings, name="tiny"), CLASSES, seed=0)
    assert probe is not None
    features = forward(None, pretrained, Manifest.read().split("test"), 4, "test").features
    assert read_json("build/probe_predictions.json") == {
        "strength": probe.strength,
        "predictions": probe.predict(features).tolist(),
    }


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda: write_json("build/prepared/classes.json", ["blue", "green"]), "trained on 3 classes"),
        (lambda: Path("build/model/config.json").unlink(), "build/model"),
        (lambda: Path("data/classification/blue/6.png").unlink(), "blue/6.png"),
        (lambda: Path("data/classification/blue/6.png").write_bytes(b"x"), "blue/6.png"),
        (lambda: Path("build/prepared/manifest.csv").unlink(), "dvc repro"),
        (lambda: shutil.rmtree("build/probe"), "dvc repro finetune"),
        (lambda: Path("build/probe/weights.npz").write_bytes(b"x"), "build/probe/weights.npz cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], damage: object, words: str
) -> None:
    damage()  # type: ignore[operator]
    with pytest.raises(SystemExit) as stop:
        run_stage()
    assert stop.value.code == 1
    assert words in capsys.readouterr().err
    assert not Path("metrics").exists()
    assert not Path("build/predictions.csv").exists()


def test_diverged_model_is_named(project: Path) -> None:
    broken = load_finetuned()
    with torch.no_grad():
        head_of(broken.model).weight.fill_(float("nan"))
    with pytest.raises(AtlasError, match="learning_rate"):
        predict(Manifest.read(), CLASSES, broken, None, tiny(EvaluateSettings))


# -- features and probe


def test_features_are_what_the_head_reads(project: Path) -> None:
    classifier = load_finetuned()
    photos = list(Manifest.read())[:5]
    outputs = forward(classifier, classifier, photos, 2, "photos")
    head = head_of(classifier.model)
    with torch.no_grad():
        logits = head(torch.from_numpy(outputs.features)).numpy()
    np.testing.assert_allclose(logits, outputs.logits, atol=1e-5)
    assert outputs.features.shape == (5, 16)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("changed", "shared"), [(("layers.3",), 3), (("layers.1",), 1), (("cls_token",), 0), ((), 4)])
def test_blocks_in_common_run_once_and_change_nothing(
    project: Path, family: str, changed: tuple[str, ...], shared: int
) -> None:
    save_pretrained(family, Path("many"))
    sizes = tiny(ModelSettings, name="many", image_size=32)
    finetuned, pretrained = (load_pretrained(sizes, CLASSES, seed) for seed in (1, 2))
    with torch.no_grad():
        for name, parameter in finetuned.model.named_parameters():
            if any(part in name.replace("layer.", "layers.") for part in changed):
                parameter.mul_(1.5).add_(0.1)
    photos = list(Manifest.read())[:5]
    assert shared_blocks(finetuned.model, pretrained.model) == shared
    both = forward(finetuned, pretrained, photos, 2, "photos")
    np.testing.assert_array_equal(both.logits, forward(finetuned, None, photos, 2, "photos").logits)
    np.testing.assert_array_equal(both.features, forward(None, pretrained, photos, 2, "photos").features)


# -- numbers


def settings(**values: int) -> EvaluateSettings:
    return tiny(EvaluateSettings, bootstrap_samples=1000, **values)


def table(labels: np.ndarray, probabilities: np.ndarray, names: list[str] | None = None) -> pd.DataFrame:
    """Predictions for photos of these labels, from probabilities (photos, classes)."""
    names = names or [f"class {number}" for number in range(probabilities.shape[1])]
    rows = [dict.fromkeys(COLUMNS, "") | {"image_id": f"{place}.png"} for place in range(len(labels))]
    frame = pd.DataFrame(rows).assign(label=labels, class_name=[names[label] for label in labels])
    return prediction_table(Manifest(frame), names, probabilities)


def measured(labels: np.ndarray, probabilities: np.ndarray, **values: int) -> dict[str, float]:
    classes = [f"class {number}" for number in range(probabilities.shape[1])]
    return numbers(table(labels, probabilities), classes, settings(**values))


def test_summary_of_a_case_done_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    result = measured(np.array([0, 1, 1, 0]), probabilities, calibration_bins=2)
    assert result["accuracy"] == 0.75
    assert result["balanced_accuracy"] == 0.75
    assert result["top5_accuracy"] == 1.0
    assert result["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    # All four confidences (0.9, 0.8, 0.7, 0.6) share the bin above one half: |0.75 - 0.75| = 0.
    assert result["ece"] == pytest.approx(0.0, abs=1e-6)
    assert result["photos"] == 4


def test_calibration_error_of_an_overconfident_model() -> None:
    probabilities = np.tile([0.95, 0.05], (10, 1))
    assert measured(np.array([0] * 5 + [1] * 5), probabilities)["ece"] == pytest.approx(0.45, abs=1e-6)


def test_top5_counts_the_five_best_of_many() -> None:
    probabilities = np.tile(np.arange(8.0), (8, 1)) / 28
    assert measured(np.arange(8), probabilities)["top5_accuracy"] == pytest.approx(5 / 8)


def test_macro_f1_and_balanced_accuracy_weigh_rare_classes_like_common_ones() -> None:
    result = measured(np.array([0] * 9 + [1]), np.tile([1.0, 0.0], (10, 1)))
    assert result["accuracy"] == 0.9
    assert result["balanced_accuracy"] == 0.5
    assert result["macro_f1"] == pytest.approx((18 / 19) / 2)


def test_interval_is_seeded_and_near_the_normal_approximation() -> None:
    labels = np.arange(400) % 4 // 3  # every fourth photo is of class 1 and taken for class 0
    result = measured(labels, np.tile([0.6, 0.4], (400, 1)))
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert result["accuracy_low"] == pytest.approx(0.75 - half, abs=0.01)
    assert result["accuracy_high"] == pytest.approx(0.75 + half, abs=0.01)
    assert measured(labels, np.tile([0.6, 0.4], (400, 1)), seed=1) != result


def test_reliability_bins_hold_every_photo_and_skip_the_empty() -> None:
    def bins(confidence: list[float], correct: list[bool], count: int) -> dict[str, list[float]]:
        frame = pd.DataFrame({"confidence": confidence, "correct": correct})
        return reliability_table(frame, count).to_dict("list")  # type: ignore[return-value]

    single = bins([0.05, 0.5, 0.51, 1.0], [False, True, False, True], 10)
    assert single["count"] == [1, 1, 1, 1]
    assert single["accuracy"] == [0, 1, 0, 1]
    merged = bins([0.5, 0.51, 1.0], [True, False, True], 2)
    assert merged == {"confidence": [0.5, 0.755], "accuracy": [1.0, 0.5], "count": [1, 2]}


def answers() -> pd.DataFrame:
    probabilities = np.array([[0.9, 0.1, 0], [0.1, 0.9, 0], [0.2, 0.2, 0.6], [0.1, 0.2, 0.7], [0, 0.1, 0.9]])
    return table(np.array([0, 0, 0, 1, 2]), probabilities, CLASSES)


def test_prediction_table() -> None:
    table = answers()
    assert table["predicted_name"].tolist() == ["blue", "green", "red", "red", "red"]
    assert table["correct"].tolist() == [True, False, False, False, True]
    assert table["confidence"].tolist() == [0.9, 0.9, 0.6, 0.7, 0.9]
    assert table["rank"].tolist() == [1, 2, 2, 2, 1]


def test_per_class_table() -> None:
    table = per_class_table(answers(), CLASSES).set_index("class_name")
    assert table["photos"].to_dict() == {"blue": 3, "green": 1, "red": 1}
    assert table.loc["blue", "recall"] == pytest.approx(1 / 3, abs=1e-5)
    assert table.loc["red", "precision"] == pytest.approx(1 / 3, abs=1e-5)
    assert table.loc["green", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]
    assert table["taken_for"].to_dict() == {"blue": "green", "green": "red", "red": ""}
    # Wilson's interval of 1 of 3, as tables of it have it.
    assert table.loc["blue", ["recall_low", "recall_high"]].tolist() == pytest.approx([0.0615, 0.7923], abs=1e-4)


def test_a_class_without_test_photos_is_not_measured_and_weighs_nothing() -> None:
    answers = table(np.array([0, 1]), np.array([[0.9, 0.1, 0], [0.1, 0.9, 0]]), CLASSES)
    classes = per_class_table(answers, CLASSES).set_index("class_name")
    for name in ("recall", "f1"):
        assert classes[name].tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)
    assert numbers(answers, CLASSES, settings())["macro_f1"] == 1


def test_classes_of_few_test_photos_are_warned_of(project: Path) -> None:
    run_stage()
    (warning,) = read_json("metrics/evaluate.json")["warnings"]
    assert warning.startswith("3 of 3 classes have fewer than 10 test photos")
    assert "`blue` (3), `green` (3), `red` (3)" in warning


@pytest.mark.parametrize("names", [["001", "090", "180"], ["NA", "null", "true"], ["1e5", "nan", ""]])
def test_names_of_classes_stay_text(project: Path, names: list[str]) -> None:
    labels = np.array([0, 1, 2, 2])
    write_csv(paths.PREDICTIONS, table(labels, np.eye(3)[[0, 1, 2, 0]], names))
    write_json(paths.CLASSES, names)
    write_json(paths.PROBE_PREDICTIONS, {"strength": None, "predictions": None})
    write_summary(summarise(load_settings()))
    assert read_csv(paths.CONFUSION, "metrics", ("actual", "predicted"))["actual"].tolist() == [*names, names[2]]
    rows = charts.confusion()
    assert rows is not None
    assert {row["actual"] for row in rows["data"]["values"]} == set(names)
    with collect() as artifacts:
        assert "confusion.png" in [artifact.name for artifact in artifacts]


def test_worst_mistakes_are_the_confident_ones() -> None:
    assert worst_mistakes(answers(), 2)["image_id"].tolist() == ["1.png", "3.png"]


def test_per_class_table_where_no_guess_is_right() -> None:
    guesses = answers()
    guesses["prediction"] = (guesses["label"] + 1) % len(CLASSES)
    guesses["predicted_name"] = [CLASSES[label] for label in guesses["prediction"]]
    guesses["correct"] = False
    table = per_class_table(guesses, CLASSES)
    assert table["photos"].tolist() == np.bincount(guesses["label"], minlength=len(CLASSES)).tolist()
    assert set(table["recall"]) == {0}
    assert table.loc[table["photos"] > 0, "recall_high"].between(0.01, 0.99).all()
