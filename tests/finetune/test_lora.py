"""Fine-tuning through low-rank adapters: what learns, what stays, and that the result is an ordinary model."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForImageClassification,
    BeitConfig,
    CLIPConfig,
    IJepaConfig,
    SiglipConfig,
    TimmWrapperConfig,
    ViTImageProcessor,
)

from tests.finetune.test_run import CLASSES_MADE, StoppedError, fill_project, interrupt, outputs, run
from tests.tiny_models import FAMILIES, save_pretrained
from tests.tiny_settings import params, tiny
from vit_atlas.errors import AtlasError
from vit_atlas.finetune.lora import add_adapters, merge_adapters
from vit_atlas.models.classifier import Classifier, load_finetuned, load_pretrained
from vit_atlas.models.trunk import blocks
from vit_atlas.paths import HISTORY, MODEL
from vit_atlas.settings import FinetuneSettings, ModelSettings, check_settings
from vit_atlas.tracking import Stream

ADAPTER = MODEL / "adapter"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vit_atlas.finetune.run._stream", lambda _: nullcontext(Stream(None, None)))
    fill_project()


def adapted(**changed: Any) -> None:
    run(**{"lora_rank": 2, "lora_alpha": 4.0} | changed)


def start(name: str = "pretrained") -> Any:
    return load_pretrained(tiny(ModelSettings, name=name), CLASSES_MADE, 0)


@pytest.mark.parametrize(("trainable_blocks", "frozen"), [(1, 3), (2, 2), ("all", 0)])
def test_linear_layers_of_the_last_blocks_learn_by_few_directions_and_nothing_else_but_the_head(
    trainable_blocks: Any, frozen: int
) -> None:
    adapted(trainable_blocks=trainable_blocks)
    before, after = start().model.state_dict(), load_finetuned().model.state_dict()
    assert before.keys() == after.keys()
    for name, old in before.items():
        change = after[name] - old
        layer = int(name.split("layers.")[1].split(".")[0]) if "layers." in name else -1
        if name.startswith("classifier"):
            assert change.any(), name
        elif layer >= frozen and old.ndim == 2:
            assert torch.linalg.matrix_rank(change, rtol=1e-3) == 2, name
        else:
            assert not change.any(), name


def test_it_learns_and_the_saved_model_is_an_ordinary_folder() -> None:
    adapted(epochs=6)
    assert pd.read_csv(HISTORY)["val_accuracy"].max() == 1.0
    plain = {path.name for path in MODEL.iterdir()}
    shutil.rmtree(MODEL)
    run()
    assert plain == {path.name for path in MODEL.iterdir()} | {"adapter"}


def test_the_adapter_beside_it_gives_the_same_model_through_peft() -> None:
    adapted()
    config = json.loads((ADAPTER / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["modules_to_save"]) == (2, 4.0, ["classifier"])
    model = PeftModel.from_pretrained(start().model, ADAPTER)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = load_finetuned().model(pixels).logits, model(pixels).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", [{}, {"head_init": "probe"}, {"precision": "bfloat16"}, {"trainable_blocks": "all"}])
def test_interrupted_it_ends_in_the_same_bytes(monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]) -> None:
    adapted(**way)
    expected = outputs(), {path.name: path.read_bytes() for path in ADAPTER.iterdir()}
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(StoppedError):
            adapted(**way)
    torch.manual_seed(9)
    adapted(**way)
    assert (outputs(), {path.name: path.read_bytes() for path in ADAPTER.iterdir()}) == expected


def test_it_starts_from_the_answers_of_the_model_without_adapters() -> None:
    """With a head from the probe, that is the training's epoch 0."""
    run(head_init="probe", learning_rate=1e-9)
    plain = pd.read_csv(HISTORY)["val_loss"].iloc[0]
    adapted(head_init="probe", learning_rate=1e-9)
    assert pd.read_csv(HISTORY)["val_loss"].iloc[0] == plain


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_linear_layers_are_found(family: str) -> None:
    save_pretrained(family, Path(family))
    classifier = start(family)
    add_adapters(classifier, tiny(FinetuneSettings, lora_rank=2, trainable_blocks=1))
    last = blocks(classifier.model)[1][-1]
    found = {name for name, _ in last.named_modules() if name.endswith(".lora_A.default")}
    linear = [item for item in blocks(start(family).model)[1][-1].modules() if isinstance(item, torch.nn.Linear)]
    assert len(found) == len(linear) == 6
    adapter = merge_adapters(classifier)
    assert adapter is not None
    assert classifier.model.state_dict().keys() == start(family).model.state_dict().keys()
    assert merge_adapters(classifier) is None


TIMM = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = SHAPE | {"image_size": 32, "patch_size": 8}
OTHERS: dict[str, tuple[Any, int]] = {
    "beit": (BeitConfig(**VISION), 6),
    "clip": (CLIPConfig(vision_config=VISION), 6),
    "siglip": (SiglipConfig(vision_config=VISION), 6),
    "ijepa": (IJepaConfig(**VISION), 6),
    "timm/vit_tiny_patch16_224": (TimmWrapperConfig(architecture="vit_tiny_patch16_224", model_args=TIMM), 4),
    # Its attention reads the weights of the layer for queries, keys and values, and does not call it.
    "timm/beit_base_patch16_224": (TimmWrapperConfig(architecture="beit_base_patch16_224", model_args=TIMM), 3),
}


@pytest.mark.parametrize("family", OTHERS)
def test_of_other_families_too_and_every_adapter_learns(family: str) -> None:
    config, expected = OTHERS[family]
    torch.manual_seed(0)
    model = AutoModelForImageClassification.from_config(config).eval()
    classifier = Classifier(model, ViTImageProcessor(size={"height": 32, "width": 32}))
    pixels = torch.randn(2, 3, 32, 32)
    before = model(pixel_values=pixels).logits
    add_adapters(classifier, tiny(FinetuneSettings, lora_rank=2, trainable_blocks=1))
    model(pixel_values=pixels).logits.square().sum().backward()
    learning = [value for name, value in model.named_parameters() if "lora_B" in name]
    assert len(learning) == expected
    assert all(value.grad is not None and value.grad.any() for value in learning)
    assert merge_adapters(classifier) is not None
    torch.testing.assert_close(model(pixel_values=pixels).logits, before)


def test_a_layer_whose_weights_are_read_without_calling_it_gets_no_adapter() -> None:
    classifier = start()
    for block in blocks(classifier.model)[1]:
        silent = block.mlp.fc1
        silent.forward = None
        block.mlp.fc1 = Reader(silent)
    add_adapters(classifier, tiny(FinetuneSettings, lora_rank=2, trainable_blocks=1))
    names = [name for name, _ in classifier.model.named_modules() if name.endswith("lora_A.default")]
    assert len(names) == 5
    assert not any("fc1" in name for name in names)


class Reader(torch.nn.Module):
    """Applies a linear layer without calling it."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(hidden, self.layer.weight, self.layer.bias)


def test_a_block_with_nothing_to_adapt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vit_atlas.finetune.lora._linear_layers", lambda *_: [])
    with pytest.raises(AtlasError, match=r"finetune\.lora_rank is 2, but the blocks of a vit model have no linear"):
        adapted()


def test_adapters_need_blocks() -> None:
    with pytest.raises(AtlasError, match=r"`finetune\.lora_rank`.*expected 0, as finetune\.trainable_blocks is 0"):
        check_settings(params(finetune={"lora_rank": 4, "trainable_blocks": 0}))


def test_two_processes_end_where_one_does() -> None:
    adapted()
    expected = load_finetuned().model.state_dict()
    code = (
        "from contextlib import nullcontext\nimport vit_atlas.finetune.run as module\n"
        "from tests.finetune.test_lora import Stream, adapted\n"
        "module._stream = lambda _: nullcontext(Stream(None, None))\nadapted()\n"
    )
    Path("train.py").write_text(code)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment())
    found = load_finetuned().model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3)
    assert (ADAPTER / "adapter_model.safetensors").is_file()


def environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return os.environ | {"PYTHONPATH": f"{root}:{root / 'src'}", "OMP_NUM_THREADS": "1"}
