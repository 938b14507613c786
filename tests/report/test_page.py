"""The page: everything that is there is on it, everything that is missing is said, nothing is loaded from elsewhere."""

import io
import re
import runpy
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vit_atlas.files import write_json
from vit_atlas.report import render_report
from vit_atlas.report.page import headline
from vit_atlas.report.pictures import LARGE, WIDEST, pictures_in
from vit_atlas.settings import EvaluateSettings, ModelSettings

STAGE = Path(__file__).parents[2] / "stages" / "report.py"
SETTINGS = (ModelSettings(name="google/vit"), EvaluateSettings())
METRICS = {
    "accuracy": 0.9,
    "accuracy_low": 0.85,
    "accuracy_high": 0.95,
    "photos": 200,
    "probe_accuracy": 0.8,
    "accuracy_minus_probe_low": 0.04,
    "accuracy_minus_probe_high": 0.16,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vit_atlas.provenance._git", lambda *arguments: None)
    return tmp_path


def fill() -> None:
    write_json("metrics/evaluate.json", METRICS)
    write_json("metrics/prepare.json", {"photos": 9, "rejected": {"<b>.gif": "animated"}, "duplicates": [["a", "b"]]})
    texts = {
        "plots/evaluate/per_class.csv": "class_name,photos,precision,recall,f1,taken_for\nNA,3,1.0,0.5,0.667,<cat>\n",
        "plots/evaluate/confusion.csv": "actual,predicted\nNA,NA\nNA,<cat>\n",
        "plots/evaluate/reliability.csv": "confidence,accuracy,count\n0.8,0.75,4\n",
        "build/history.csv": "step,train_loss,val_loss,val_accuracy\n1,2.0,,\n2,1.0,1.5,0.5\n",
        "data.dvc": "outs:\n- md5: abc.dir\n  path: data\n",
    }
    for name, text in texts.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    write_json("build/prepared/classes.json", ["<cat>", "NA"])
    for name in (
        "plots/evaluate/mistakes.png",
        "plots/attention/dog_1.png",
        "plots/embeddings/overview.png",
        "plots/captions/scene.png",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (9, 9, 200)).save(name)


def test_every_number_and_picture_is_on_the_page(folder: Path) -> None:
    fill()
    page = render_report(SETTINGS)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions == ["training curves", "confusion", "reliability", "mistakes", "dog 1", "overview", "scene"]
    for text in (
        "90.0%",
        "abc.dir",
        "google/vit",
        "bootstrap_samples",
        "<td>NA</td>",
        "0.500",
        "accuracy minus probe low",
    ):
        assert text in page
    assert "no pictures yet" not in page


def test_names_from_data_are_text_and_not_markup(folder: Path) -> None:
    fill()
    page = render_report(SETTINGS)
    assert "<cat>" not in page
    assert "&lt;cat&gt;" in page
    assert "&lt;b&gt;.gif" in page


def test_the_page_needs_no_other_file(folder: Path) -> None:
    fill()
    page = render_report(SETTINGS)
    sources = re.findall(r'(?:src|href)="(.*?)"', page)
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "http" not in page


def test_an_empty_folder_gives_a_page_that_says_what_is_missing(folder: Path) -> None:
    page = render_report(SETTINGS)
    assert page.count("no pictures yet") == 5
    for text in ("metrics/evaluate.json", "metrics/attention.json", "per_class.csv is missing", "not tracked by DVC"):
        assert text in page


def test_the_same_files_give_the_same_page(folder: Path) -> None:
    fill()
    assert render_report(SETTINGS) == render_report(SETTINGS)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.2, "fine-tuning is better"), (-0.2, -0.01, "fine-tuning is worse"), (-0.1, 0.1, "cannot be told apart")],
)
def test_the_headline_claims_no_more_than_the_interval(low: float, high: float, words: str) -> None:
    text = headline(METRICS | {"accuracy_minus_probe_low": low, "accuracy_minus_probe_high": high})
    assert words in text
    assert text.count("told apart") + text.count("is better") + text.count("is worse") == 1


@pytest.mark.parametrize(("distance", "words"), [(-0.048, "4.8 points below"), (0.01, "1.0 points above")])
def test_the_headline_tells_the_distance_to_the_reference(distance: float, words: str) -> None:
    assert words in headline(METRICS | {"reference_accuracy": 0.948, "distance_to_reference": distance})


def test_large_pictures_are_embedded_smaller(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 2 * WIDEST, 3), dtype=np.uint8)
    Image.fromarray(noise).save("wide.png")
    assert Path("wide.png").stat().st_size > LARGE
    (picture,) = pictures_in(folder)
    assert (picture.width, picture.height) == (WIDEST, 150)
    kind, content = picture.source.split(";base64,")
    with Image.open(io.BytesIO(b64decode(content))) as embedded:
        assert (kind, embedded.format, embedded.size) == ("data:image/webp", "WEBP", (WIDEST, 150))


def test_the_stage_writes_the_page_and_a_missing_result_for_mlflow_is_only_a_warning(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill()
    Path("params.yaml").write_text("model: {name: tiny}\n")
    runpy.run_path(str(STAGE), run_name="__main__")
    assert "<h2" in Path("report/index.html").read_text()
    assert capsys.readouterr().err.count("warning:") == 1
