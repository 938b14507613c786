"""The page: everything that is there is on it, everything that is missing is said, nothing is loaded from elsewhere."""

import io
import json
import runpy
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tiny_settings import VALUES, params_text, tiny_settings
from vit_atlas.captioning.measure.summary import OFF
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import read_json, write_json
from vit_atlas.report import charts, explore, render_report
from vit_atlas.report.payload import blob, plain
from vit_atlas.report.pictures import LARGE, WIDEST, picture
from vit_atlas.report.result import headline, numbers
from vit_atlas.settings import NoCaptionerSettings, Settings
from vit_atlas.training.record import record_training

from .synthetic import ATTENTION, CAPTION, EVALUATE, EVIL, HEADS, LAYERS, fill, write_attention, write_embeddings

STAGE = Path(__file__).parents[2] / "stages" / "report.py"
SEEDS = {"0": 0.9, "7": 0.88}
SETTINGS = tiny_settings(model={"name": "google/vit"})


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, Any] = {}
        self.words: list[str] = []
        self._script: dict[str, str | None] | None = None
        self._style = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = dict(attrs) if tag == "script" else None
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._script, self._style = None, False

    def handle_data(self, data: str) -> None:
        if self._script is None and not self._style:
            self.words.append(data)
        elif self._script and self._script.get("type") == "application/json":
            self.data[str(self._script["id"])] = json.loads(data)


def test_all_that_is_there_is_on_the_page(folder: Path) -> None:
    fill()
    page = Page(render_report(SETTINGS))
    assert {"palettes", "attention-common", "attention-0", "attention-1", "positions-data", "captions-data"} <= set(
        page.data
    )
    drawn = {name.removeprefix("chart-") for name in page.data if name.startswith("chart-")}
    assert {"result", "loss", "validation", "confusion", "reliability", "distance", "score-1"} <= drawn
    for text in ("90.0%", "85.0% to 95.0%", "+10.0", "abc.dir", "google/vit", "bootstrap_samples", "torch"):
        assert text in page.text
    assert "cat0.png" not in page.text
    assert page.data["attention-0"]["name"] == "cat0.png"
    assert "missing" not in page.text


def test_pictures_and_controls_have_names(folder: Path) -> None:
    fill()
    page = Page(render_report(SETTINGS))
    assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")
    named = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
    for tag, attributes in page.tags:
        if tag == "select" or (tag == "input" and attributes["type"] == "range"):
            assert attributes["id"] in named
    assert [tag for tag, _ in page.tags if tag in ("h1", "main", "nav")] == ["nav", "main", "h1"]


def test_names_from_data_are_text_and_not_markup(folder: Path) -> None:
    fill(EVIL)
    page = Page(render_report(SETTINGS))
    assert not [attributes for tag, attributes in page.tags if "onerror" in attributes or attributes.get("src") == "x"]
    assert page.data["attention-0"]["truth"] == EVIL
    assert page.data["captions-data"]["photos"][0]["words"][1]["text"] == EVIL
    confusion = page.data["chart-confusion"]["data"]["values"]
    assert EVIL in {row["actual"] for row in confusion}
    assert " ".join(EVIL.split()) in page.text
    plain_page = Page(render_report_of("cat"))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain_page.tags]


def render_report_of(name: str) -> str:
    fill(name)
    return render_report(SETTINGS)


def test_the_page_needs_no_other_file(folder: Path) -> None:
    fill()
    page = Page(render_report(SETTINGS))
    sources = [attributes.get(name) or "" for _, attributes in page.tags for name in ("src", "href", "action", "data")]
    assert all(source.startswith(("data:image/", "#")) for source in sources if source)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base")]
    policy = [attributes.get("content") for tag, attributes in page.tags if tag == "meta"]
    assert any(str(content).startswith("default-src 'none'; img-src data:;") for content in policy)


def test_an_empty_folder_gives_a_page_that_says_what_is_missing(folder: Path) -> None:
    page = Page(render_report(SETTINGS))
    for text in (
        "metrics/evaluate.json is missing",
        "metrics/attention.json is missing: `dvc repro metrics` writes it",
        "There are no maps of attention",
        "There are no captions: dvc repro caption-attn writes them",
        "There are no similarities of position embeddings",
        "per_class.csv is missing",
        "build/history.csv is missing",
        "not tracked by DVC",
    ):
        assert text in page.text
    assert set(page.data) == {"palettes"}


def test_a_class_without_test_photos_is_not_measured(folder: Path) -> None:
    fill("cat")
    table = {"class_name": ["cat"], "photos": 0, "precision": 0.0, "recall": None, "f1": None, "taken_for": ""}
    pd.DataFrame(table).to_csv("plots/evaluate/per_class.csv", index=False)
    assert "cat 0 not measured 0.000 not measured" in Page(render_report(SETTINGS)).text


def test_captions_name_their_captioner_and_what_was_left_out(folder: Path) -> None:
    fill("cat")
    text = Page(render_report(SETTINGS)).text
    assert "Captions by a captioner trained on cat." in text
    assert "1 photos are left out (cat)." in text


def test_without_a_captioner_the_page_says_nothing_of_captions(folder: Path) -> None:
    fill("cat")
    shutil.rmtree("build/captions")
    write_json("metrics/caption.json", OFF)
    settings = tiny_settings(model={"name": "google/vit"}, captioner=VALUES[NoCaptionerSettings])
    page = Page(render_report(settings))
    assert "captions" not in {attributes.get("id") for _, attributes in page.tags}
    told, _, settings_and_tables = page.text.rpartition("How it was made")
    assert "caption" not in told.lower()
    assert "captioner.kind is none" not in settings_and_tables


@pytest.mark.parametrize("part", ["build/attention", "build/embeddings.npz", "build/captions", "build/history.csv"])
def test_one_part_less_is_said_and_the_others_stay(folder: Path, part: str) -> None:
    fill()
    whole = Page(render_report(SETTINGS))
    shutil.rmtree(part) if Path(part).is_dir() else Path(part).unlink()
    less = Page(render_report(SETTINGS))
    assert set(less.data) < set(whole.data)
    classes = [attributes.get("class") for _, attributes in less.tags]
    assert classes.count("missing") == [item.get("class") for _, item in whole.tags].count("missing") + 1


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (SETTINGS, "no test photo has an object mask"),
        (tiny_settings(attention={"scored_photos": 0}), "attention.scored_photos is 0."),
    ],
)
def test_where_no_map_is_scored_the_page_says_why_in_both_places(folder: Path, settings: Settings, why: str) -> None:
    fill()
    write_attention("cat", outline=None)
    none = dict.fromkeys(ATTENTION)
    write_json("metrics/attention.json", none | {"photos_scored": 0, "artefacts.photos": 0})
    page = Page(render_report(settings))
    assert f"No map is scored: {why}" in page.text
    assert f"No map was scored: {why}" in page.text
    assert "chart-score-1" not in page.data
    assert "mostly on the object" not in page.text


def test_one_class_is_said(folder: Path) -> None:
    fill()
    write_json("metrics/prepare.json", {"classes": 1})
    assert "There is one class only" in Page(render_report(SETTINGS)).text


def test_classes_have_intervals_and_those_of_few_photos_are_warned_of(folder: Path) -> None:
    fill()
    balanced = Estimate(0.8, 0.7, 0.9).flat("balanced_accuracy")
    write_json("metrics/evaluate.json", EVALUATE | balanced | {"warnings": ["1 of 2 classes has few photos: `NA` (4)"]})
    page = Page(render_report(SETTINGS))
    for text in (
        "0.500 [0.100, 0.900]",
        "1 of 2 classes has few photos: `NA` (4).",
        "balanced accuracy",
        "70.0% to 90.0%",
    ):
        assert text in page.text
    assert "[nan" not in page.text


def test_whatever_is_drawn_the_page_stays_below_15_megabytes(folder: Path) -> None:
    fill()
    assert len(render_report(SETTINGS).encode()) + explore.BUDGET < 13_000_000


def test_photos_that_do_not_fit_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    monkeypatch.setattr(explore, "BUDGET", 1)
    page = Page(render_report(SETTINGS))
    assert "attention-1" not in page.data
    assert "1 more photos were drawn than this page can hold" in page.text


def test_position_embeddings_that_did_not_move_are_shown_once(folder: Path) -> None:
    fill()
    write_embeddings(same=True)
    page = Page(render_report(SETTINGS))
    assert [part["name"] for part in page.data["positions-data"]["parts"]] == ["after"]
    assert "Fine-tuning left these vectors as they were" in page.text
    assert {row["when"] for row in page.data["chart-tokens"]["data"]["values"]} == {"in one photo", "between photos"}
    assert len(page.data["chart-attention-distance"]["data"]["values"]) == LAYERS * HEADS


def test_the_same_files_give_the_same_page(folder: Path) -> None:
    fill()
    assert render_report(SETTINGS) == render_report(SETTINGS)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.2, "fine-tuning is better"), (-0.2, -0.01, "fine-tuning is worse"), (-0.1, 0.1, "cannot be told apart")],
)
def test_the_headline_claims_no_more_than_the_interval(low: float, high: float, words: str) -> None:
    text = headline(EVALUATE | {"accuracy_minus_probe_low": low, "accuracy_minus_probe_high": high})
    assert words in text
    assert text.count("told apart") + text.count("is better") + text.count("is worse") == 1


@pytest.mark.parametrize(("distance", "words"), [(-0.048, "4.8 points below"), (0.01, "1.0 points above")])
def test_the_distance_to_the_reference_is_told(distance: float, words: str) -> None:
    metrics = EVALUATE | {"reference_accuracy": 0.948, "distance_to_reference": distance}
    assert words in headline(metrics)
    assert numbers(metrics, {})[2].value == f"{distance * 100:+.1f}"
    assert "none is set" in numbers(EVALUATE, {})[2].note


def test_large_pictures_are_embedded_smaller(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 2 * WIDEST, 3), dtype=np.uint8)
    Image.fromarray(noise).save("wide.png")
    assert Path("wide.png").stat().st_size > LARGE
    found = picture(Path("wide.png"), "wide")
    assert found is not None
    assert (found.width, found.height) == (WIDEST, 150)
    kind, content = found.source.split(";base64,")
    with Image.open(io.BytesIO(b64decode(content))) as embedded:
        assert (kind, embedded.format, embedded.size) == ("data:image/webp", "WEBP", (WIDEST, 150))
    assert picture(Path("none.png"), "none") is None


def test_arrays_come_back_from_their_blob() -> None:
    import zlib

    codes, peaks = np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([0.5, 2.0])
    packed = blob({"codes": codes, "peaks": peaks})
    content = zlib.decompress(b64decode(packed["data"]))
    parts = {part["name"]: part for part in packed["parts"]}
    assert parts["peaks"]["offset"] % 4 == 0
    assert np.frombuffer(content, "<f4", 2, parts["peaks"]["offset"]).tolist() == [0.5, 2.0]
    assert np.frombuffer(content, np.uint8, 6, parts["codes"]["offset"]).tolist() == list(range(6))
    assert plain({"a": [float("nan"), np.float32(0.5), np.int64(3)], 1: None}) == {"a": [None, 0.5, 3], "1": None}


def test_the_stage_writes_the_page_and_a_missing_result_for_mlflow_is_only_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill()
    Path("params.yaml").write_text(params_text(model={"name": "tiny"}))
    runpy.run_path(str(STAGE), run_name="__main__")
    assert "<h2" in Path("report/index.html").read_text()
    assert capsys.readouterr().err.count("warning:") == 1
    assert read_json("metrics/evaluate.json") == EVALUATE


def test_the_caption_score_the_training_and_the_choice_of_photos_are_told(folder: Path) -> None:
    fill()
    write_json("metrics/caption.json", CAPTION | {"bleu_4": 0.3377, "cider": 2.7487, "photos_with_captions": 200})
    counts = {"photos": 960, "classes": 12, "train": 600, "val": 120, "test": 240, "rejected_count": 3}
    write_json("metrics/prepare.json", counts | {"rejected": {}})
    record_training("a processor, 2 threads", "float32", 191.0, resumed=False)
    write_json("metrics/attention.json", ATTENTION | {"best_head.miou": 0.7, "best_head.head": 5})
    page = Page(render_report(SETTINGS))
    for text in (
        "0.338",
        "CIDEr 2.75; on 200 photos that people captioned",
        "trained on 600 photos,",
        "600 to train, 120 to choose the epoch, 240 to test",
        "3: build/prepared/rejected.csv tells the reason of each",
        "in 3 min, on a processor, 2 threads, in float32",
        "half of them are wrong guesses",
    ):
        assert text in page.text
    assert "best head (head 5)" in {row["name"] for row in page.data["chart-score-1"]["data"]["values"]}


def test_a_record_of_another_training_is_not_told(folder: Path) -> None:
    fill()
    record_training("a processor", "float32", 10.0, resumed=False)
    Path("build/history.csv").write_text("step,train_loss\n1,2.0\n")
    text = Page(render_report(SETTINGS)).text
    assert "when and on what is not known here" in text
    assert "a processor" not in text


def test_one_epoch_makes_a_chart_that_can_be_read(folder: Path) -> None:
    fill()
    Path("build/history.csv").write_text("step,train_loss,val_loss,val_accuracy\n1,2.0,,\n2,1.0,1.5,0.333\n")
    chart = Page(render_report(SETTINGS)).data["chart-validation"]
    colour, y = (chart["layer"][0]["encoding"][name] for name in ("color", "y"))
    assert colour["scale"]["domain"] == ["validation"]
    assert colour["legend"] is None
    assert y["scale"] == {"domain": [0, 1]}


def test_every_training_is_a_dot_and_the_mean_is_told(folder: Path) -> None:
    fill("cat")
    over = {
        "trainings": 2,
        "accuracy_sd": 0.0141,
        **Estimate(0.89, 0.84, 0.94).flat("accuracy_over_seeds"),
        **Estimate(0.09, 0.02, 0.16).flat("accuracy_minus_probe_over_seeds"),
        "accuracy_minus_probe_sd": 0.0141,
        "by_seed": {seed: {"accuracy": value, "accuracy_minus_probe": value - 0.8} for seed, value in SEEDS.items()},
    }
    write_json("metrics/evaluate.json", EVALUATE | over)
    page = Page(render_report(SETTINGS))
    dots = page.data["chart-trainings"]["layer"][-1]["data"]["values"]
    assert {dot["seed"]: dot["value"] for dot in dots} == pytest.approx({"0": 0.1, "7": 0.08})
    assert [dot["value"] for dot in page.data["chart-result"]["layer"][-1]["data"]["values"]] == [0.9, 0.88]
    assert (
        "The mean of 2 trainings with other seeds is 0.890 [0.840, 0.940], their standard deviation 0.014" in page.text
    )
    assert "Supported over 2 trainings" in page.text
    assert "in this training fine-tuning is better" in page.text
    assert "over photos and seeds fine-tuning is better than the probe." in page.text


def test_one_training_says_so_and_how_to_get_the_spread(folder: Path) -> None:
    fill("cat")
    page = Page(render_report(SETTINGS))
    assert "Supported in this training" in page.text
    assert "dvc exp run -S 'finetune.repeats=[1,2,3,4]' -S 'captions.repeats=[1,2,3,4]'" in page.text
    assert "chart-trainings" not in page.data


@pytest.mark.parametrize(
    ("asked", "advised"),
    [
        ({"finetune": {"repeats": [7]}}, "dvc exp run -S 'captions.repeats=[1,2,3,4]' trains again"),
        ({"captions": {"repeats": [7]}}, "dvc exp run -S 'finetune.repeats=[1,2,3,4]' trains again"),
        ({"finetune": {"repeats": [7]}, "captions": {"repeats": [7]}}, None),
    ],
)
def test_repeats_that_are_asked_for_already_are_not_advised(folder: Path, asked: Any, advised: str | None) -> None:
    fill("cat")
    page = Page(render_report(tiny_settings(model={"name": "google/vit"}, **asked)))
    assert "Supported in this training" in page.text
    assert "stays that of the first training" in page.text
    assert (advised or "rests on one training") in page.text
    assert ("dvc exp run" in page.text) == (advised is not None)


def test_of_a_thousand_classes_the_confusion_shows_the_worst(folder: Path) -> None:
    fill()
    classes = [f"class {number:04}" for number in range(1000)]
    write_json("build/prepared/classes.json", classes)
    pairs = [(name, classes[0] if number % 9 == 5 else name) for number, name in enumerate(classes)]
    Path("plots/evaluate/confusion.csv").write_text("\n".join(["actual,predicted", *map(",".join, pairs)]) + "\n")
    chart = Page(render_report(SETTINGS)).data["chart-confusion"]
    shown = chart["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert len(shown) == charts.DRAWN
    assert {"class 0000", "class 0005", "class 0014"} <= set(shown)
    assert "Shown are the 100 classes with the most mistakes" in chart["description"]
