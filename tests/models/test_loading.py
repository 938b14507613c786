import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    ViTImageProcessor,
    pipeline,
)

from tests.tiny_models import save_pretrained
from tests.tiny_settings import tiny
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier, load_finetuned, load_pretrained
from vit_atlas.settings import ModelSettings

CLASSES = ["ant", "bee", "cow"]


def load(folder: Path, size: int | tuple[int, int] | None = None, seed: int = 0) -> Classifier:
    return load_pretrained(tiny(ModelSettings, name=str(folder), image_size=size), CLASSES, seed)


def photo(width: int = 50, height: int = 37) -> Image.Image:
    noise = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(width))
    return Image.fromarray(noise.numpy())


def test_backbone_is_the_pretrained_one_and_head_is_new(pretrained: Path) -> None:
    classifier = load(pretrained)
    original, _ = AutoModelForImageClassification.from_pretrained(pretrained, output_loading_info=True)
    pixels = torch.randn(2, 3, 32, 32) if classifier.image_size == (32, 32) else torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = original.base_model(pixels).last_hidden_state
        actual = classifier.model.base_model(pixels).last_hidden_state
    torch.testing.assert_close(actual, expected)
    assert classifier.id2label == {0: "ant", 1: "bee", 2: "cow"}
    assert classifier.model(pixels).logits.shape == (2, 3)
    assert not classifier.model.training


def test_head_is_a_function_of_the_seed(pretrained: Path) -> None:
    states = [load(pretrained, seed=seed).model.state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    different = [name for name in states[0] if not torch.equal(states[0][name], states[2][name])]
    assert different == ["classifier.weight"]


def test_loading_leaves_the_global_random_state_alone(pretrained: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load(pretrained, seed=3)
    second = load(pretrained, seed=3)
    assert torch.equal(first.model.classifier.weight, second.model.classifier.weight)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("size", [None, 64, (32, 64)])
def test_pipeline_gives_the_same_predictions(
    pretrained: Path, tmp_path: Path, size: int | tuple[int, int] | None
) -> None:
    classifier = load(pretrained, size)
    classifier.save(tmp_path / "model")
    photos = [photo(), photo(20, 61), photo(64, 64)]
    with torch.no_grad():
        probabilities = classifier.model(classifier.pixel_values(photos)).logits.softmax(-1)
    predict = pipeline("image-classification", str(tmp_path / "model"))
    for expected, scores in zip(probabilities, predict(photos), strict=True):
        named = {item["label"]: item["score"] for item in scores}
        assert named == pytest.approx(dict(zip(CLASSES, expected.tolist(), strict=True)), abs=1e-5)


def test_finetuned_round_trip(pretrained: Path, tmp_path: Path) -> None:
    classifier = load(pretrained, 64)
    classifier.save(tmp_path / "model")
    again = load_finetuned(tmp_path / "model")
    assert again.image_size == (64, 64)
    assert again.layout == classifier.layout
    assert again.id2label == classifier.id2label
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again.model(pixels).logits, classifier.model(pixels).logits)


def test_saved_folder_does_not_depend_on_where_things_lie(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = []
    for place in ("one", "two"):
        folder = tmp_path / place
        folder.mkdir()
        monkeypatch.chdir(folder)
        save_pretrained(family, Path("pretrained"))
        load(Path("pretrained")).save("model")
        contents.append({path.name: path.read_bytes() for path in Path("model").iterdir()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("family", ["vit", "deit"])
def test_position_embedding_is_resampled_as_the_model_itself_would(family: str, tmp_path: Path) -> None:
    folder = save_pretrained(family, tmp_path / "pretrained")
    fitted, native = load(folder, (64, 40)).model, load(folder).model
    pixels = torch.randn(1, 3, 64, 40)
    with torch.no_grad():
        torch.testing.assert_close(fitted(pixels).logits, native(pixels, interpolate_pos_encoding=True).logits)
    assert list(fitted.config.image_size) == [64, 40]


@pytest.mark.parametrize("family", ["dinov2", "dinov2_with_registers"])
def test_dinov2_keeps_its_native_grid(family: str, tmp_path: Path) -> None:
    classifier = load(save_pretrained(family, tmp_path / "pretrained"), (32, 64))
    assert classifier.model.config.image_size == 48
    assert classifier.layout.grid == (4, 8)


def test_default_size_is_what_the_model_was_made_for(tmp_path: Path) -> None:
    assert load(save_pretrained("vit", tmp_path / "vit")).image_size == (32, 32)
    assert load(save_pretrained("dinov2", tmp_path / "dinov2")).image_size == (224, 224)


def test_processor_stretches_and_keeps_the_pretrained_statistics(pretrained: Path) -> None:
    processor = load(pretrained, (32, 64)).processor
    assert list(processor.image_mean) == [0.4, 0.5, 0.6]
    assert list(processor.image_std) == [0.2, 0.3, 0.25]
    white = Image.new("RGB", (10, 90), "white")
    pixels = processor(images=white, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 64)
    torch.testing.assert_close(pixels[0, :, 5, 5], torch.tensor([0.6 / 0.2, 0.5 / 0.3, 0.4 / 0.25]))


@pytest.mark.parametrize(
    "own",
    [
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.1, 0.9], "image_std": [1.0, 0.5, 2.0]},
        {"rescale_factor": 1 / 127.5, "do_normalize": False},
        {"do_rescale": False, "image_mean": [120.0, 110.0, 100.0], "image_std": [60.0, 50.0, 70.0]},
        {"do_rescale": False, "do_normalize": False},
        {"resample": 0},
        {"image_mean": 0.5, "image_std": 0.25},
    ],
)
def test_pixels_are_what_the_models_own_processor_makes_of_them(tmp_path: Path, own: dict[str, Any]) -> None:
    save_pretrained("vit", tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}, **own).save_pretrained(tmp_path)
    expected = AutoImageProcessor.from_pretrained(tmp_path)(photo(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(load(tmp_path).pixel_values([photo()]), expected.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "own",
    [
        {"image_mean": None},
        {"image_std": None},
        {"image_std": [0.5, 0.0, 0.5]},
        {"image_mean": [0.5, 0.5]},
        {"rescale_factor": 0},
        {"rescale_factor": "1/255"},
        {"resample": "bicubic"},
        {"resample": 99},
    ],
)
def test_a_processor_that_makes_no_input_is_one_sentence(tmp_path: Path, own: dict[str, Any]) -> None:
    save_pretrained("vit", tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    with pytest.raises(AtlasError, match=r"model\.name .*: its preprocessor_config\.json makes no input of a photo"):
        load(tmp_path)


def test_image_size_must_be_divisible(pretrained: Path) -> None:
    with pytest.raises(AtlasError, match=r"model\.image_size is 60x60 .* use 56 or 64"):
        load(pretrained, 60)


def test_model_that_is_not_for_photos(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(AtlasError, match="is a bert model, which transformers and timm as installed cannot"):
        load(tmp_path)


def test_unknown_model_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(AtlasError, match=r"model\.name .* cannot be loaded"):
        load(tmp_path)


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"holds no config\.json"):
        load(tmp_path)


def test_folder_that_does_not_exist() -> None:
    with pytest.raises(AtlasError, match="no folder has that name"):
        load(Path("some/models/nowhere"))


def test_folder_without_a_processor(pretrained: Path) -> None:
    (pretrained / "preprocessor_config.json").unlink()
    with pytest.raises(AtlasError, match=r"no preprocessor_config\.json"):
        load(pretrained)


def test_weights_that_lack_a_block(pretrained: Path) -> None:
    weights = pretrained / "model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if ".3." not in name}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(AtlasError, match=r"do not fit its config\.json: \d+ are missing"):
        load(pretrained)


def test_weights_that_are_cut_short(pretrained: Path) -> None:
    weights = pretrained / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(AtlasError, match="cannot be read"):
        load(pretrained)


def test_dinov2_trained_on_non_square_photos_is_refused(tmp_path: Path) -> None:
    folder = save_pretrained("dinov2", tmp_path / "pretrained", image_size=[16, 64])
    with pytest.raises(AtlasError, match="non-square image_size"):
        load(folder, (16, 64))


def test_finetuned_model_that_is_missing_or_not_whole(pretrained: Path, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="run `dvc repro finetune` first"):
        load_finetuned(tmp_path / "model")
    load(pretrained).save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    save_file({name: value for name, value in load_file(weights).items() if "classifier" not in name}, weights)
    with pytest.raises(AtlasError, match="not whole"):
        load_finetuned(tmp_path / "model")


def test_saving_replaces_the_folder_as_a_whole(pretrained: Path, tmp_path: Path) -> None:
    stale = tmp_path / "model" / "stale.txt"
    stale.parent.mkdir()
    stale.touch()
    load(pretrained).save(tmp_path / "model")
    assert not stale.exists()
    assert AutoConfig.from_pretrained(tmp_path / "model").problem_type == "single_label_classification"
