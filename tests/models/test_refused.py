"""Models that no map can be drawn of: one sentence each, from the pipeline's finetune and from ``explain --model``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    CLIPConfig,
    DeiTForImageClassificationWithTeacher,
    PvtConfig,
    SwinConfig,
    TimmWrapperConfig,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    ViTImageProcessor,
)

from tests.tiny_models import VIT, tiny_config, tiny_model
from tests.tiny_settings import tiny
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier, load_pretrained, open_classifier
from vit_atlas.models.hub import quiet
from vit_atlas.settings import ModelSettings


def timm(name: str, **options: Any) -> Callable[[], Any]:
    config = TimmWrapperConfig(architecture=name, model_args=options, num_labels=3)
    return lambda: AutoModelForImageClassification.from_config(config)


def swin() -> Any:
    sizes = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1]}
    return AutoModelForImageClassification.from_config(SwinConfig(**sizes, window_size=4))


def pvt() -> Any:
    sizes = {"hidden_sizes": [8, 8], "depths": [1, 1], "num_attention_heads": [1, 1], "mlp_ratios": [1, 1]}
    stages = {"num_encoder_blocks": 2, "patch_sizes": [4, 2], "strides": [4, 2], "sequence_reduction_ratios": [2, 1]}
    return AutoModelForImageClassification.from_config(PvtConfig(image_size=32, **sizes, **stages))


def videomae() -> Any:
    return VideoMAEForVideoClassification(VideoMAEConfig(**VIT, num_frames=2))


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "windows": (swin, "SwinForImageClassification attends within windows"),
    "hybrid": (timm("vit_tiny_r_s16_p8_224"), "does not cut the photo into patches that one convolution reads"),
    "class attention": (timm("cait_xxs24_224", depth=2), r"attends \d+ times in \d+ blocks"),
    "no attention that arrives": (pvt, "no attention of PvtForImageClassification reached the recorder"),
    "two heads": (
        timm("deit_tiny_distilled_patch16_224", depth=1),
        r"a deit_tiny_distilled_patch16_224 model answers with 2 heads \(head and head_dist\), each of which reads",
    ),
    "video": (
        videomae,
        "is a (VideoMAE model, which is for video|videomae model, which transformers and timm as inst)",
    ),
}


@pytest.fixture(params=["finetune", "explain"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Classifier]:
    """Saves a model and opens it again, as one of the two ways in does."""

    def open_saved(model: Any, size: Any = None) -> Classifier:
        with quiet():
            model.save_pretrained(tmp_path / "saved")
        ViTImageProcessor().save_pretrained(tmp_path / "saved")
        if request.param == "finetune":
            settings = tiny(ModelSettings, name=str(tmp_path / "saved"), image_size=size)
            return load_pretrained(settings, ["a", "b"], seed=0)
        return open_classifier(str(tmp_path / "saved"), "--model")

    return open_saved


@pytest.mark.parametrize("name", list(MODELS))
def test_one_sentence_says_what_the_model_is_and_what_to_choose(name: str, opened: Any) -> None:
    make, expected = MODELS[name]
    torch.manual_seed(0)
    with pytest.raises(AtlasError, match=expected) as caught:
        opened(make())
    sentence = str(caught.value)
    assert sentence.startswith(("--model ", "model.name "))
    assert "\n" not in sentence
    assert "choose a" in sentence or "choose one" in sentence or "use a plain vision transformer" in sentence


def test_a_distilled_deit_is_refused_as_it_is_and_gets_one_head_by_training(tmp_path: Path) -> None:
    with quiet():
        DeiTForImageClassificationWithTeacher(tiny_config("deit")).save_pretrained(tmp_path)
    ViTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(AtlasError, match=r"deit model answers with 2 heads \(cls_classifier and distillation_classif"):
        open_classifier(str(tmp_path), "--model")
    settings = tiny(ModelSettings, name=str(tmp_path), image_size=None)
    assert load_pretrained(settings, ["a", "b"], 0).readout.kind == "class token"


def test_a_head_that_is_no_linear_layer() -> None:
    model = tiny_model("vit")
    model.classifier = Cosines(16, 2)
    with pytest.raises(AtlasError, match="ViTForImageClassification has no head that is one linear layer with an outp"):
        Classifier(model, ViTImageProcessor(size={"height": 32, "width": 32})).readout  # noqa: B018


class Cosines(torch.nn.Module):
    """A head that compares with a prototype of each class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.prototypes = torch.nn.Parameter(torch.randn(classes, width))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(states, dim=-1) @ self.prototypes.T


def test_an_input_size_that_the_model_cannot_take(tmp_path: Path) -> None:
    vision = {**VIT, "num_hidden_layers": 1}
    with quiet():
        AutoModelForImageClassification.from_config(CLIPConfig(vision_config=vision)).save_pretrained(tmp_path)
    ViTImageProcessor().save_pretrained(tmp_path)
    for size, expected in (
        ([32, 64], "32x64 .*, and a clip model cannot be made for it: use 32, its own size, or another square one"),
        (30, "30x30 .*, which patches of 8x8 pixels do not divide: use 24 or 32 for the height"),
        (4, "4x4 .*, which patches of 8x8 pixels do not divide: use 8 for the height"),
    ):
        with pytest.raises(AtlasError, match=rf"model\.image_size is {expected}"):
            load_pretrained(tiny(ModelSettings, name=str(tmp_path), image_size=size), ["a", "b"], seed=0)
