"""`mlflow models serve` with the champion: photos over HTTP on this machine."""

import base64
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pandas as pd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tests.odd_photos import write_odd_photos
from tests.tiny_models import save_tiny
from vit_atlas.cli import commands
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.models.inference import forward
from vit_atlas.paths import MODEL
from vit_atlas.tracking import mirror
from vit_atlas.tracking.client import tracking_uri

from .helpers import Finished, Process, free_port


@pytest.fixture
def address(project: Finished) -> Iterator[str]:
    """The photo classifier as a user serves it, after `vit-atlas track`."""
    save_tiny(MODEL, labels=("cat", "dog", "fish"), scale=0.3)
    mirrored = mirror()
    assert mirrored is not None
    champion = f"models:/{mirrored.registered}@champion"
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", champion]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = f"http://127.0.0.1:{port}"
    folder = project.folder / "served"
    folder.mkdir()
    with Process(folder, command, f"{home}/ping", PATH=path, MLFLOW_TRACKING_URI=tracking_uri()):
        yield home


def ask(address: str, **question: Any) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_photo_comes_back_with_classes_and_anything_else_with_a_sentence(address: str) -> None:
    from transformers import pipeline

    Image.new("RGB", (20, 10), (250, 0, 0)).save("red.png")
    photo = base64.b64encode(Path("red.png").read_bytes()).decode()
    expected = pipeline("image-classification", "build/model", device="cpu")("red.png", top_k=3)

    (one,) = ask(address, inputs=[photo])["predictions"]
    assert one["label"] == expected[0]["label"]
    assert [item["label"] for item in one["classes"]] == [item["label"] for item in expected]
    assert one["score"] == pytest.approx(expected[0]["score"], abs=1e-5)
    assert sum(item["score"] for item in one["classes"]) == pytest.approx(1, abs=1e-5)

    two = ask(address, dataframe_split={"columns": ["photo"], "data": [[photo], [photo]]}, params={"top_k": 2})
    assert [len(row["classes"]) for row in two["predictions"]] == [2, 2]

    broken = base64.b64encode(b"GIF89a and no more").decode()
    for text, sentence in (
        (broken, "input 1 cannot be read as a photo: "),
        ("no base64!", "is not a photo's bytes in base64"),
        (str(Path("red.png").resolve()), "is not a photo's bytes in base64"),
    ):
        with pytest.raises(HTTPError) as refused:
            ask(address, inputs=[text])
        assert refused.value.code == 400
        assert sentence in json.load(refused.value)["message"]


def test_everything_that_answers_sees_the_same_pixels(address: str) -> None:
    """evaluate, explain, and the model over HTTP; tests/test_export.py asks the exported folder."""
    photos = write_odd_photos(Path("photos"))
    rows = [dict.fromkeys(COLUMNS, "") | {"path": photo} for photo in photos]
    logits = forward(load_finetuned(), None, Manifest(pd.DataFrame(rows)), 5, "photos").logits
    expected = torch.from_numpy(logits).softmax(dim=-1).numpy()

    explained = CliRunner().invoke(commands, ["explain", *photos, "--json", "--no-caption"])
    told = [json.loads(line)["predictions"] for line in explained.stdout.splitlines()]
    found = {"explain": [{one["label"]: one["probability"] for one in answer} for answer in told]}

    inputs = [base64.b64encode(Path(photo).read_bytes()).decode() for photo in photos]
    served = ask(address, inputs=inputs)["predictions"]
    found["served"] = [{one["label"]: one["score"] for one in row["classes"]} for row in served]

    for name, answers in found.items():
        for photo, answer, probabilities in zip(photos, answers, expected, strict=True):
            values = [answer[label] for label in ("cat", "dog", "fish")]
            assert values == pytest.approx(probabilities, abs=1e-3), (name, photo)
