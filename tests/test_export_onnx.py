"""The exported ONNX file: the model's answers, from what stands in the file alone."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.test_export import make_model
from tests.tiny_models import FAMILIES, save_tiny
from tests.tiny_settings import tiny
from vit_atlas.cli import commands
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.errors import AtlasError
from vit_atlas.export_onnx import write_onnx
from vit_atlas.models.classifier import Classifier, load_finetuned, load_pretrained
from vit_atlas.paths import MODEL
from vit_atlas.settings import ModelSettings

LABELS = ("cat", "dog", "plain | 犬")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def answers(path: Path, pixels: torch.Tensor) -> np.ndarray:
    return np.asarray(onnxruntime.InferenceSession(path).run(None, {"pixel_values": pixels.numpy()})[0])


def photos(count: int = 5) -> list[str]:
    """Test photos, listed where prepare lists them."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        path = Path(f"data/classification/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((80, 60), Image.Resampling.BICUBIC).save(path)
        rows.append(dict.fromkeys(COLUMNS, "") | {"image_id": path.name, "path": str(path), "split": "test"})
        rows[-1] |= {"label": 0, "class_name": "cat", "width": 80, "height": 60}
    Manifest(pd.DataFrame(rows)).write()
    return [str(row["path"]) for row in rows]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [None, [64, 32]])
def test_every_family_answers_the_same_for_any_batch(family: str, size: Any) -> None:
    save_tiny("pretrained", family, labels=LABELS, scale=0.3)
    classifier = load_pretrained(tiny(ModelSettings, name="pretrained", image_size=size), LABELS, 0)
    assert "noise" in write_onnx(classifier, "model.onnx")
    for batch in (1, 2, 5):
        pixels = torch.randn(batch, 3, *classifier.image_size, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = classifier.model(pixel_values=pixels).logits.numpy()
        np.testing.assert_allclose(answers(Path("model.onnx"), pixels), expected, atol=1e-4)
    made = onnx.load("model.onnx")
    assert [entry.version for entry in made.opset_import if not entry.domain] == [18]


def test_the_documents_lines_classify_a_photo_by_what_the_file_says(root: Path) -> None:
    """Without torch, transformers and vit-atlas."""
    make_model(MODEL)
    save_tiny(MODEL, labels=LABELS, scale=0.3)
    taken = photos()
    answer = CliRunner().invoke(commands, ["export", "handed-on", "--onnx"])
    assert answer.exit_code == 0, answer.output
    assert "model.onnx, opset 18: checked on 5 test photos: the same classes" in answer.output
    text = (root / "docs" / "how-to" / "own-model.md").read_text()
    (lines,) = (found for found in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "onnxruntime" in found)
    classifier = load_finetuned()
    for photo in taken:
        code = lines.replace("path/to/this/folder", "handed-on").replace('"photo.jpg"', repr(photo))
        names: dict[str, Any] = {}
        exec(code.replace("print(", "answer = ("), names)
        (logits,) = classifier.model(classifier.pixel_values([Image.open(photo)])).logits
        assert names["answer"] == LABELS[int(logits.argmax())]
        np.testing.assert_allclose(names["logits"], logits.detach().numpy(), atol=0.1)
    sys.path.remove("handed-on")
    for name in [name for name in sys.modules if name.startswith("vit_atlas_photos")]:
        del sys.modules[name]


def test_the_metadata_are_those_of_the_processor() -> None:
    save_tiny(MODEL, labels=LABELS)
    classifier = load_finetuned()
    classifier.processor.image_mean, classifier.processor.resample = [0.4, 0.5, 0.6], 2
    write_onnx(classifier, "model.onnx")
    values = {entry.key: json.loads(entry.value) for entry in onnx.load("model.onnx").metadata_props}
    assert values == {
        "size": [32, 32],
        "interpolation": "bilinear",
        "crop": None,
        "rescale": pytest.approx(1 / 255),
        "mean": [0.4, 0.5, 0.6],
        "std": [0.5, 0.5, 0.5],
        "channels": "RGB",
        "classes": list(LABELS),
    }


def test_a_file_that_answers_otherwise_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(MODEL)
    save_tiny(MODEL, labels=LABELS, scale=0.3)

    class Wrong(onnxruntime.InferenceSession):  # type: ignore[misc]
        def run(self, *arguments: Any) -> list[np.ndarray]:
            return [super().run(*arguments)[0] + 0.01]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    with pytest.raises(AtlasError, match="answers otherwise than build/model on noise, as no photos"):
        CliRunner().invoke(commands, ["export", "handed-on", "--onnx"], catch_exceptions=False)
    assert not Path("handed-on").exists()


def test_without_onnxruntime_it_is_told_that_nothing_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(MODEL)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert write_onnx(load_finetuned(), "model.onnx").endswith("pip install 'vit-atlas[onnx]'")
    assert Path("model.onnx").is_file()


def test_what_cannot_be_written_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(MODEL)
    classifier = load_finetuned()
    monkeypatch.setattr("vit_atlas.export_onnx.LARGEST", 100)
    with pytest.raises(AtlasError, match="more than 2 GB of weights"):
        write_onnx(classifier, "model.onnx")
    monkeypatch.undo()
    wrong = Classifier(classifier.model, classifier.processor)
    wrong.model.classifier = Unknown()
    with pytest.raises(AtlasError, match="a vit model, cannot be written as ONNX") as caught:
        write_onnx(wrong, "model.onnx")
    assert "\n" not in str(caught.value)
    assert not Path("model.onnx").exists()


class Unknown(torch.nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(hidden.mT @ hidden).real[None, :2]
