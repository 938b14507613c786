"""A project with a tiny random classifier and a tiny random captioner in build/, and photos to explain."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from tests.tiny_models import save_tiny
from tests.tiny_settings import tiny
from vit_atlas.captioning.model.backbones import describe_backbone, make_backbone
from vit_atlas.captioning.model.network import CaptionNetwork, NetworkShape
from vit_atlas.captioning.model.trained import save_captioner
from vit_atlas.captioning.model.vocabulary import learn_vocabulary
from vit_atlas.cli import commands
from vit_atlas.errors import AtlasError
from vit_atlas.paths import CAPTIONER, MODEL
from vit_atlas.settings import CaptionerSettings


def write_photo(path: str | Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(place)
    return place


def save_tiny_captioner() -> None:
    settings = tiny(CaptionerSettings, layers=(-1,), width=16, heads=2, decoder_layers=1, image_size=32)
    backbone = make_backbone(settings)
    tokenizer = learn_vocabulary(["a red square", "one blue square"], 1)
    shape = NetworkShape(
        vocabulary=len(tokenizer),
        feature_channels=backbone.channels,
        width=16,
        heads=2,
        encoder_layers=0,
        decoder_layers=1,
        feed_forward=32,
        positions=8,
        dropout=0.0,
        output_width=32,
    )
    torch.manual_seed(0)
    CAPTIONER.mkdir(parents=True)
    save_captioner(CAPTIONER, backbone, describe_backbone(settings), CaptionNetwork(shape), tokenizer, "two squares")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: build/model, build/captioner, photos/cat/1.png, photos/dog/1.png, photos/dog/2.png."""
    monkeypatch.chdir(tmp_path)
    save_tiny(MODEL, labels=("cat <&>", "dog"), seed=1, scale=0.2)
    save_tiny_captioner()
    for seed, name in enumerate(("cat/1.png", "dog/1.png", "dog/2.png")):
        write_photo(Path("photos", name), seed)
    return tmp_path


def explain(*arguments: str, stdin: str | bytes = "") -> Result:
    """`vit-atlas explain` in this process, errors as `app` shows them."""
    result = CliRunner().invoke(commands, ["explain", *arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit | AtlasError):
        raise result.exception
    return result


def sentences(result: Result) -> list[str]:
    """What the user is told went wrong."""
    told = [line.removeprefix("error: ") for line in result.stderr.splitlines() if line.startswith("error: ")]
    return [*told, str(result.exception)] if isinstance(result.exception, AtlasError) else told
