"""Weights that carry code are refused with a sentence, wherever they come from, and the code does not run."""

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import save_pretrained
from tests.tiny_settings import tiny
from vit_atlas.captioning.published.checkpoint import read_checkpoint
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.settings import ModelSettings
from vit_atlas.training.checkpoints import Checkpoints


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.place,)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The folder that the trap makes."""
    return tmp_path / "sprung"


def zipped(content: Any, path: Path) -> None:
    torch.save(content, path)


def from_params(folder: Path) -> Any:
    return load_pretrained(tiny(ModelSettings, name=str(folder)), ["x", "y"], seed=0)


def plain(content: Any, path: Path) -> None:
    with path.open("wb") as handle:
        pickle.dump(content, handle)


@pytest.mark.parametrize("write", [zipped, plain], ids=["zip", "bare pickle"])
def test_the_trap_works(write: Callable[[Any, Path], None], tmp_path: Path, sprung: Path) -> None:
    """Else the other tests would show nothing."""
    write({"model": Trap(sprung)}, tmp_path / "trap.pth")
    with contextlib.suppress(RuntimeError):  # what comes out of a bare pickle is not a checkpoint, but it has run
        torch.load(tmp_path / "trap.pth", weights_only=False)
    assert sprung.is_dir()


@pytest.mark.parametrize("write", [zipped, plain], ids=["zip", "bare pickle"])
def test_a_captioners_checkpoint_with_code_is_refused(
    write: Callable[[Any, Path], None], tmp_path: Path, sprung: Path
) -> None:
    write({"model": {"weight": torch.zeros(2), "more": Trap(sprung)}}, tmp_path / "trap.pth")
    with pytest.raises(AtlasError, match=r"trap\.pth holds more than tensors .* it was not loaded") as caught:
        read_checkpoint(tmp_path / "trap.pth")
    assert "\n" not in str(caught.value)
    assert not sprung.exists()


@pytest.mark.parametrize("write", [zipped, plain], ids=["zip", "bare pickle"])
@pytest.mark.parametrize("load", [from_params, load_finetuned], ids=["model.name", "build/model"])
def test_a_model_folder_with_code_in_its_weights_is_refused(
    write: Callable[[Any, Path], None], load: Callable[[Path], Any], tmp_path: Path, sprung: Path
) -> None:
    folder = save_pretrained("vit", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    write({"classifier.bias": torch.zeros(2), "more": Trap(sprung)}, folder / "pytorch_model.bin")
    with pytest.raises(AtlasError, match=r"more than tensors .*: save the model as safetensors") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert not sprung.exists()


def test_a_model_folder_with_code_of_its_own_is_refused_without_a_question(tmp_path: Path, sprung: Path) -> None:
    folder = save_pretrained("vit", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "their_own"
    config["auto_map"] = {"AutoConfig": "theirs.Config", "AutoModelForImageClassification": "theirs.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"import os\nos.mkdir({str(sprung)!r})\n")
    with pytest.raises(AtlasError, match="carries code of its own, which is never run here") as caught:
        from_params(folder)
    assert "\n" not in str(caught.value)
    assert not sprung.exists()


def test_a_checkpoint_whose_files_were_exchanged_is_not_resumed_from(
    tmp_path: Path, sprung: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("key")
    folder = checkpoints.folder / "checkpoint-5"
    folder.mkdir(parents=True)
    torch.save({"state": {}}, folder / "optimizer.pt")
    checkpoints.mark(5)
    assert checkpoints.latest() == folder
    torch.save({"state": Trap(sprung)}, folder / "optimizer.pt")
    assert checkpoints.latest() is None
    assert "optimizer.pt" in capsys.readouterr().err
    assert not sprung.exists()


def test_code_beside_a_known_model_is_not_run(tmp_path: Path, sprung: Path) -> None:
    folder = save_pretrained("vit", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForImageClassification": "theirs.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"import os\nos.mkdir({str(sprung)!r})\n")
    classifier = from_params(folder)
    assert type(classifier.model).__module__.startswith("transformers.")
    assert not sprung.exists()
