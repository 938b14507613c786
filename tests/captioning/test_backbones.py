import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoModelForImageClassification, IJepaConfig, ViTImageProcessor, ViTMSNConfig

from tests.tiny_models import VIT, save_pretrained
from tests.tiny_settings import tiny
from vit_atlas.captioning.model.backbones import describe_backbone, load_backbone, make_backbone
from vit_atlas.captioning.model.efficientnet import EfficientNetBackbone, EfficientNetLite2
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import load_pretrained
from vit_atlas.settings import CaptionerSettings, ModelSettings

PHOTOS = [Image.new("RGB", (50, 40), (200, 90, 30)), Image.effect_noise((30, 60), 80).convert("RGB")]


@pytest.mark.parametrize("family", ["vit", "dinov2", "dinov2_with_registers"])
def test_patch_features_lie_on_the_grid_without_special_tokens(tmp_path, monkeypatch, family):
    monkeypatch.chdir(tmp_path)
    save_pretrained(family, tmp_path / "pretrained")
    load_pretrained(tiny(ModelSettings, name="pretrained", image_size=48), ["a", "b"], 0).save("build/model")
    settings = tiny(CaptionerSettings, image_size=44, layers=(1, -1))
    backbone = make_backbone(settings)
    assert (backbone.grid, backbone.channels) == ((5, 5), 32)
    features = backbone(PHOTOS)
    assert features.shape == (2, 32, 5, 5)
    torch.testing.assert_close(features[:, :16].mean(1), torch.zeros(2, 5, 5), atol=1e-5, rtol=0)

    model = AutoModel.from_pretrained("build/model").eval()
    pixels = backbone._processor(images=PHOTOS, return_tensors="pt")["pixel_values"]
    assert pixels.shape[-2:] == (40, 40)
    options = {"interpolate_pos_encoding": True} if family == "vit" else {}
    with torch.no_grad():
        last = model(pixels, output_hidden_states=True, **options).hidden_states[-1][:, -25:]
    expected = torch.nn.functional.layer_norm(last, (16,)).unflatten(1, (5, 5)).permute(0, 3, 1, 2)
    torch.testing.assert_close(features[:, 16:], expected, atol=1e-4, rtol=1e-4)

    (tmp_path / "saved").mkdir()
    backbone.save(tmp_path / "saved")
    again = load_backbone(tmp_path / "saved", describe_backbone(settings))
    torch.testing.assert_close(again(PHOTOS), features)
    assert again.fingerprint() == backbone.fingerprint()


@pytest.mark.parametrize("kind", [ViTMSNConfig, IJepaConfig])
def test_inputs_of_another_size_and_any_number_of_special_tokens(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    config = kind(**VIT, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1})
    AutoModelForImageClassification.from_config(config).save_pretrained("pretrained")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained("pretrained")
    load_pretrained(tiny(ModelSettings, name="pretrained"), ["a", "b"], 0).save("build/model")
    backbone = make_backbone(tiny(CaptionerSettings, image_size=44, layers=(1, -1)))
    assert backbone(PHOTOS).shape == (2, 32, 5, 5)


def test_a_side_smaller_than_a_patch_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_pretrained("vit", tmp_path / "pretrained", patch_size=64, image_size=64)
    load_pretrained(tiny(ModelSettings, name="pretrained"), ["a", "b"], 0).save("build/model")
    with pytest.raises(AtlasError, match=r"captioner\.image_size is 32, less than a patch of 64x64"):
        make_backbone(tiny(CaptionerSettings, image_size=32))


def test_efficientnet_comes_back_from_its_folder(tmp_path):
    torch.manual_seed(0)
    backbone = EfficientNetBackbone(EfficientNetLite2(), 65)
    features = backbone(PHOTOS)
    assert backbone.grid == (3, 3)
    assert features.shape == (2, 1280, 3, 3)
    backbone.save(tmp_path)
    again = load_backbone(
        tmp_path, describe_backbone(tiny(CaptionerSettings, backbone="efficientnet_lite2", image_size=65))
    )
    torch.testing.assert_close(again(PHOTOS), features)


@pytest.mark.embedded
def test_published_efficientnet_knows_its_own_input_size():
    assert EfficientNetBackbone.fetch(None).grid == (9, 9)
