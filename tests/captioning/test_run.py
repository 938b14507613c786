from pathlib import Path

import numpy as np
import pytest

from tests.tiny_settings import tiny
from vit_atlas.captioning.dataset import read_dataset
from vit_atlas.captioning.model.backbones import ViTBackbone
from vit_atlas.captioning.model.captioner import SearchOptions
from vit_atlas.captioning.opening import name_captioner, open_captioner
from vit_atlas.captioning.train import run
from vit_atlas.captioning.train.run import train_captioner
from vit_atlas.code_hash import module_path
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import read_json
from vit_atlas.settings import CatrSettings, HubSettings
from vit_atlas.training.callbacks import Progress

READ_BYTES = Path.read_bytes


def captions_of(split):
    photos = read_dataset().of_split(split)
    captioner = open_captioner()
    return photos, captioner.caption([open_photo(photo.path) for photo in photos], SearchOptions(beams=2))


def test_it_learns_to_name_colours_and_its_folder_is_all_it_needs(project, small):
    train_captioner(small.model_copy(update={"epochs": 20}))
    (project / "build" / "model").rename(project / "elsewhere")
    photos, captions = captions_of("test")
    right = [
        caption.text in {"a " + photo.captions[0].lower()[2:-1], photo.captions[1]}
        for photo, caption in zip(photos, captions, strict=True)
    ]
    assert np.mean(right) > 0.8
    word = captions[0].words[0]
    assert word.maps.shape == (2, 4, 4, 4)
    np.testing.assert_allclose(word.maps.sum(axis=(-2, -1)), 1, atol=1e-5)
    assert not list((project / ".checkpoints").glob("captioner-*")), "checkpoints of a finished training are removed"


def test_an_interrupted_training_goes_on_and_ends_the_same(project, small, monkeypatch):
    settings = small.model_copy(update={"epochs": 3})
    train_captioner(settings)
    whole = (project / "build" / "captioner" / "model.safetensors").read_bytes()
    (project / "build" / "captioner").rename(project / "first")

    original = Progress.on_step_end
    steps = []

    def interrupt(self, args, state, control, **kwargs):
        steps.append(state.global_step)
        if len(steps) == 9:
            raise KeyboardInterrupt
        original(self, args, state, control, **kwargs)

    monkeypatch.setattr(Progress, "on_step_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_captioner(settings)
    assert not (project / "build" / "captioner").exists()
    train_captioner(settings)
    assert steps[9] == 6, "training goes on after the checkpoint of step 5"
    assert (project / "build" / "captioner" / "model.safetensors").read_bytes() == whole


def test_features_are_computed_once_and_a_cut_off_computation_goes_on(project, small, monkeypatch):
    settings = small.model_copy(update={"epochs": 1})
    seen = []
    original = ViTBackbone.__call__

    def call(self, photos):
        if len(seen) == 1:
            seen.append(0)
            raise KeyboardInterrupt
        seen.append(len(photos))
        return original(self, photos)

    monkeypatch.setattr(ViTBackbone, "__call__", call)
    with pytest.raises(KeyboardInterrupt):
        train_captioner(settings)
    train_captioner(settings)
    assert seen == [32, 0, 51 - 32]
    train_captioner(settings.model_copy(update={"seed": 1}))
    assert len(seen) == 3
    features = np.load(next((project / run.FEATURES).glob("*.npy")))
    photos = [photo for photo in read_dataset().photos if photo.split != "test"]
    backbone = run.make_backbone(settings)
    expected = original(backbone, [open_photo(photo.path) for photo in photos]).numpy()
    np.testing.assert_allclose(features, expected, atol=2e-2)


@pytest.mark.parametrize(
    "settings",
    [tiny(CatrSettings, checkpoint="x.pth"), tiny(HubSettings)],
)
def test_a_published_captioner_is_only_written_down(project, settings):
    train_captioner(settings)
    assert read_json("build/captioner/captioner.json") == settings.model_dump()
    assert [path.name for path in (project / "build" / "captioner").iterdir()] == ["captioner.json"]


def test_nothing_is_written_when_captions_are_wrong(project, small):
    with (project / "data" / "captioning" / "captions.csv").open("a") as stream:
        stream.write("00.png,a,b,train\n")
    with pytest.raises(AtlasError, match="1 lines have more cells than its header"):
        train_captioner(small)
    assert not (project / "build" / "captioner").exists()


def test_a_split_that_is_missing_is_named(project, small):
    table = project / "data" / "captioning" / "captions.csv"
    table.write_text(table.read_text().replace(",val", ",train"))
    with pytest.raises(AtlasError, match="no usable photo in the split `val`"):
        train_captioner(small)


def test_broken_photos_are_left_out_by_name_and_the_rest_is_learned_from(project, small, capsys):
    for name in ("00.png", "50.png"):
        path = project / "data" / "captioning" / "images" / name
        path.write_bytes(path.read_bytes()[:60])
    train_captioner(small.model_copy(update={"epochs": 1}))
    assert "2 photos are left out (00.png, 50.png): 00.png first, the file is cut short" in capsys.readouterr().err
    assert len(np.load(next((project / run.FEATURES).glob("*.npy")))) == 51 - 2


def test_it_learns_from_captions_without_spaces(project, small):
    table = project / "data" / "captioning" / "captions.csv"
    rows = ["image,caption"]
    rows += [f"{index:02}.png,{'红绿蓝'[index % 3]}色的正方形。" for index in range(60)]
    table.write_text("\n".join(rows), encoding="utf-8")
    train_captioner(small.model_copy(update={"epochs": 20, "longest": 10}))
    photos, captions = captions_of("test")
    assert np.mean([f"{c.text}。" == p.captions[0] for p, c in zip(photos, captions, strict=True)]) > 0.7
    assert [word.text for word in captions[0].words][1:] == list("色的正方形")


def test_too_rare_words_are_one_sentence_before_training(project, small):
    with pytest.raises(AtlasError, match="minimum_count is 85, and no word of the 84 training captions"):
        train_captioner(small.model_copy(update={"minimum_count": 85}))
    assert not (project / run.FEATURES).exists()


def test_a_captioner_says_what_it_was_trained_on(project, small):
    (project / "data" / "captioning" / "ABOUT.txt").write_text("Squares on grey. Made for tests.")
    train_captioner(small.model_copy(update={"epochs": 1}))
    assert name_captioner() == "a captioner trained on data/captioning (Squares on grey)"
    path = project / "build" / "captioner" / "captioner.json"
    path.write_text(path.read_text().replace('"data"', '"other"'))
    with pytest.raises(AtlasError, match="does not say which data"):
        open_captioner()


def test_a_layer_that_the_model_lacks_is_named(project, small):
    with pytest.raises(AtlasError, match="names layer 7, and the model has 4"):
        train_captioner(small.model_copy(update={"layers": (7,)}))


def test_no_captioner_yet_is_one_sentence(project):
    with pytest.raises(AtlasError, match="run `dvc repro caption-train` first"):
        open_captioner()


def test_weights_of_another_shape_are_one_sentence(project, small):
    train_captioner(small.model_copy(update={"epochs": 1}))
    path = project / "build" / "captioner" / "captioner.json"
    path.write_text(path.read_text().replace('"width": 32', '"width": 16'))
    with pytest.raises(AtlasError, match=r"do not fit captioner\.json"):
        open_captioner()


@pytest.mark.parametrize("name", ["model.safetensors", "backbone/model.safetensors"])
def test_weights_that_were_cut_off_are_one_sentence(project, small, name):
    train_captioner(small.model_copy(update={"epochs": 1}))
    path = project / "build" / "captioner" / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AtlasError, match="train again"):
        open_captioner()


def test_bfloat16_trains_with_no_accelerator_either(project, small):
    train_captioner(small.model_copy(update={"precision": "bfloat16"}))
    assert (project / "build" / "captioner" / "model.safetensors").is_file()


@pytest.mark.parametrize("change", ["code", "processor", "versions", "precision"])
def test_features_are_computed_anew_when_what_makes_them_changed(project, small, monkeypatch, change):
    """The features outlive the training, so that the next one finds them: only while they are what it would compute."""
    settings = small.model_copy(update={"epochs": 1})
    train_captioner(settings)
    seen = []
    original = ViTBackbone.__call__
    monkeypatch.setattr(ViTBackbone, "__call__", lambda self, photos: seen.append(1) or original(self, photos))
    train_captioner(settings)
    assert not seen
    if change == "code":
        path = module_path("vit_atlas.captioning.model.backbones")
        content = path.read_bytes()
        monkeypatch.setattr(Path, "read_bytes", lambda self: content + b"#" if self == path else READ_BYTES(self))
    elif change == "processor":
        path = project / "build" / "model" / "preprocessor_config.json"
        path.write_text(path.read_text().replace("0.4", "0.7"))
    elif change == "precision":
        settings = settings.model_copy(update={"precision": "bfloat16"})
    else:
        monkeypatch.setattr("transformers.__version__", "0.0.1")
    train_captioner(settings)
    assert seen
