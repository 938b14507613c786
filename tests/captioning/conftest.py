import csv
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from transformers import AutoModelForImageClassification

from tests.tiny_models import save_pretrained
from tests.tiny_settings import tiny
from vit_atlas.settings import CaptionerSettings

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}


@pytest.fixture(scope="session")
def filled_state():
    """Makes a state dict with weights by formula, as the vectors' README describes it."""

    def make(shapes: dict[str, list[int]], phase: float = 0.0) -> dict[str, Tensor]:
        state = {}
        for index, name in enumerate(sorted(shapes)):
            shape = shapes[name]
            count = math.prod(shape)
            wave = torch.sin(0.37 * torch.arange(count, dtype=torch.float64) + index + phase)
            if len(shape) >= 2:
                wave = wave / math.sqrt(count / shape[0])
            elif name.endswith(("weight", "running_var")):
                wave = 1 + 0.1 * wave
            else:
                wave = 0.1 * wave
            state[name] = wave.reshape(shape).float()
        return state

    return make


def write_squares(folder: Path) -> None:
    """data/captioning with a coloured square on grey in each photo, a caption that names the colour, and its mask."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows, objects = [], []
    for index in range(60):
        split = "train" if index < 42 else "val" if index < 51 else "test"
        colour = list(COLOURS)[index % 3]
        left, top = 4 + index * 7 % 20, 4 + index * 5 % 12
        photo, mask = Image.new("RGB", (48, 36), (120, 120, 120)), Image.new("1", (48, 36))
        ImageDraw.Draw(photo).rectangle((left, top, left + 18, top + 15), COLOURS[colour])
        ImageDraw.Draw(mask).rectangle((left, top, left + 18, top + 15), 1)
        name = f"{index:02}.png"
        photo.save(folder / "images" / name)
        mask.save(folder / "masks" / name)
        rows += [(name, f"A {colour} square.", split), (name, f"one {colour} square here", split)]
        objects.append({"image": name, "noun": "square", "mask": f"masks/{name}"})
    with (folder / "captions.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "caption", "split"), *rows])
    (folder / "objects.jsonl").write_text("".join(json.dumps(item) + "\n" for item in objects))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder with captioned squares and a tiny fine-tuned ViT; the working directory."""
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "data" / "captioning")
    save_pretrained("dinov2", tmp_path / "pretrained")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "pretrained")
    model.save_pretrained(tmp_path / "build" / "model")
    (tmp_path / "pretrained" / "preprocessor_config.json").rename(
        tmp_path / "build" / "model" / "preprocessor_config.json"
    )
    return tmp_path


@pytest.fixture
def small():
    """Settings of a captioner that learns the squares in seconds."""
    return tiny(
        CaptionerSettings,
        image_size=32,
        layers=(2, -1),
        width=32,
        heads=4,
        decoder_layers=2,
        minimum_count=1,
        longest=8,
        epochs=8,
        batch_size=8,
        learning_rate=3e-3,
        checkpoint_steps=5,
    )
