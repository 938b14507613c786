import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageClassification,
    BeitConfig,
    BitImageProcessor,
    CLIPConfig,
    ResNetConfig,
    ResNetForImageClassification,
    ViTImageProcessor,
    pipeline,
)

from tests.explain.conftest import explain, sentences, write_photo
from tests.tiny_models import save_pretrained, save_tiny
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import METHODS, class_specific
from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.recorder import record_attention
from vit_atlas.captioning.train.run import train_captioner
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.explain.classify import find_labels
from vit_atlas.io.files import write_json
from vit_atlas.models.classifier import load_finetuned, open_classifier
from vit_atlas.paths import ATTENTION_METRICS, CAPTIONER, MODEL
from vit_atlas.settings import NoCaptionerSettings

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TOWER = SIZES | {"image_size": 32, "patch_size": 8}


def records(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def _beit():
    return BeitConfig(**TOWER, use_relative_position_bias=True)


def _clip():
    return CLIPConfig(vision_config=TOWER)


def files(folder="explain"):
    return sorted(path.name for path in Path(folder).iterdir())


def test_pictures_page_and_words(project):
    result = explain("photos")
    assert result.exit_code == 0
    expected = [f"{stem}-{kind}.png" for stem in ("2", "cat_1", "dog_1") for kind in ("caption", "maps")]
    assert files() == [*expected, "index.html"]
    for name in expected:
        with Image.open(Path("explain", name)) as picture:
            assert min(picture.size) > 200
    assert re.search(r"photos/cat/1\.png: (cat <&>|dog) \d+\.\d%, ", result.stdout)
    assert "“" in result.stdout
    page = Path("explain/index.html").read_text()
    assert "cat &lt;&amp;&gt;" in page
    assert "cat <&>" not in page
    assert page.count("<article>") == 3
    name = "a captioner trained on data/captioning (two squares)"
    assert page.count(f"By {name}. Where it looked for each word") == 3
    assert result.stderr.count(f"captions by {name}") == 1
    for record in records(explain("photos", "--json")):
        assert record["caption"]["captioner"] == name
        assert f"“{record['caption']['text']}”" in html.unescape(page)


def test_the_page_is_whole_in_itself(project):
    explain("photos/cat/1.png")
    page = Path("explain/index.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) >= 2
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not re.findall(r"https?://", page)
    links = re.findall(r'href="([^"]*)"', page)
    assert sorted(links) == ["1-caption.png", "1-maps.png"]
    assert page.count("<img") == page.count('alt="')


def test_json_is_what_the_model_says_and_nothing_else(project):
    result = explain("photos", "--json", "--method", "head_mean", "--method", "relevance", "--layer", "2")
    assert result.exit_code == 0
    assert not Path("explain").exists(), "pictures are drawn with --out only"
    found = records(result)
    assert [record["path"] for record in found] == ["photos/cat/1.png", "photos/dog/1.png", "photos/dog/2.png"]
    classifier = load_finetuned()
    guess = pipeline("image-classification", str(MODEL))
    for record in found:
        photo = open_photo(record["path"])
        said = {item["label"]: item["score"] for item in guess(photo)}
        assert {one["label"]: pytest.approx(one["probability"], abs=1e-4) for one in record["predictions"]} == said
        assert record["predictions"][0]["probability"] >= record["predictions"][1]["probability"]
        assert (record["layer"], record["grid"]) == (2, [4, 4])
        rows = run_pass(classifier, classifier.pixel_values([photo]), gradients=False).read_rows(1).mean(dim=1)[0]
        np.testing.assert_allclose(record["maps"]["head_mean"], rows / rows.sum(), rtol=1e-4)
        assert list(record["maps"]) == ["head_mean", "relevance"]
        for word in record["caption"]["words"]:
            assert 0 < word["probability"] <= 1
            assert np.sum(word["map"]) == pytest.approx(1, abs=1e-4)
        assert record["caption"]["text"] == " ".join(word["text"] for word in record["caption"]["words"])


def test_same_photos_same_bytes(project):
    first, again = explain("photos", "--json", "--out", "one"), explain("photos", "--json", "--out", "two")
    assert first.stdout_bytes == again.stdout_bytes
    assert files("one") == files("two")
    for name in files("one"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes(), name


def test_every_method_can_be_asked_for(project):
    ATTENTION_METRICS.parent.mkdir()
    write_json(ATTENTION_METRICS, {"best_head.head": 2})
    arguments = [part for method in METHODS for part in ("--method", method)]
    (record,) = records(explain("photos/cat/1.png", "--json", "--no-caption", "--out", "all", *arguments))
    assert list(record["maps"]) == list(METHODS)
    assert record["caption"] is None
    assert files("all") == ["1-maps.png", "index.html"]
    classifier = load_finetuned()
    trace = run_pass(classifier, classifier.pixel_values([open_photo("photos/cat/1.png")]), gradients=False)
    head = trace.read_rows(-1)[0, 1]
    np.testing.assert_allclose(record["maps"]["best_head"], head / head.sum(), rtol=1e-4)


def test_what_is_no_photo_is_told_and_the_others_are_explained(project):
    Path("photos/dog/0.jpg").write_text("no photo")
    write_photo("photos/dog/3.png", size=(6, 40))
    result = explain("photos/dog", "nowhere/*.jpg")
    assert result.exit_code == 1
    told = sentences(result)
    assert len(told) == 3
    assert told[0] == "no photo matches nowhere/*.jpg"
    assert told[1].startswith("photos/dog/0.jpg cannot be read as a photo: ")
    assert told[2].startswith("photos/dog/3.png is 6x40 pixels, less than one patch of 8x8")
    assert files() == ["1-caption.png", "1-maps.png", "2-caption.png", "2-maps.png", "index.html"]
    page = Path("explain/index.html").read_text()
    assert "photos/dog/0.jpg cannot be read" in page
    lines = explain("photos/dog", "--json").stdout.splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["photos/dog/1.png", "photos/dog/2.png"]


def test_nothing_to_explain_writes_nothing(project):
    Path("broken.png").write_bytes(b"")
    result = explain("broken.png")
    assert result.exit_code == 1
    assert sentences(result) == ["broken.png cannot be read as a photo: the file is empty (zero bytes)"]
    assert explain("nowhere").exit_code == 1
    assert not Path("explain").exists()


def test_a_photo_is_never_overwritten(project):
    photo = write_photo("out/1-maps.png")
    before = photo.read_bytes()
    shutil.copy(photo, "out/1.png")
    Path("out/own").symlink_to(".")
    assert explain("out/1.png", "--out", "out/own").exit_code == 0
    assert photo.read_bytes() != before, "an earlier result is replaced"
    Path("out/1-maps.png").unlink()
    Path("out/1-maps.png").hardlink_to("out/1.png")
    result = explain("out/1.png", "--out", "out")
    assert result.exit_code == 1
    assert "would be overwritten by its own picture" in sentences(result)[0]
    assert Path("out/1.png").read_bytes() == before


def test_paths_on_stdin(project):
    found = records(explain("-", "--json", "--no-caption", stdin="photos/dog/2.png\nphotos/cat\n"))
    assert [record["path"] for record in found] == ["photos/dog/2.png", "photos/cat/1.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--method", "rolout"], "--method rolout does not exist: use head_mean, best_head"),
        (["--layer", "5"], "--layer 5 does not exist: the model has 4 layers, 1 to 4, or -1 for the last"),
        (["--layer", "-5"], "--layer -5 does not exist"),
        (["--method", "best_head"], "--method best_head needs a head chosen on photos with masks"),
        (["--model", "build/model", "--method", "best_head"], "with --model or --compare-with, use another method"),
        (["--model", "./nowhere"], "--model is ./nowhere, and no folder has that name: correct the path"),
        (["--model", "photos"], "--model is the folder photos, which holds no config.json"),
        (["--captioner", "photos"], "captions are left out: photos holds no captioner"),
    ],
)
def test_wrong_options_are_one_sentence(project, arguments, sentence):
    result = explain("photos/cat", *arguments)
    assert result.exit_code == 1
    (told,) = sentences(result)
    assert sentence in told
    assert "params.yaml" not in told


def test_best_head_of_another_layer(project):
    ATTENTION_METRICS.parent.mkdir()
    write_json(ATTENTION_METRICS, {"best_head.head": 2})
    assert explain("photos/cat", "--method", "best_head", "--layer", "4").exit_code == 0
    (told,) = sentences(explain("photos/cat", "--method", "best_head", "--layer", "3"))
    assert "its head was chosen in layer 4, not in layer 3" in told


def test_without_a_model(project):
    shutil.rmtree("build/model")
    (told,) = sentences(explain("photos/cat"))
    assert told == "build/model holds no model: run `dvc repro finetune` first, or name one with --model"


def test_without_a_captioner(project):
    shutil.rmtree(CAPTIONER)
    result = explain("photos/cat")
    assert result.exit_code == 0
    assert files() == ["1-maps.png", "index.html"]
    assert "looked for each word" not in Path("explain/index.html").read_text()


def test_captions_that_are_off_are_not_spoken_of(project):
    shutil.rmtree(CAPTIONER)
    train_captioner(NoCaptionerSettings(kind="none"))
    result = explain("photos/cat")
    assert result.exit_code == 0
    assert files() == ["1-maps.png", "index.html"]
    assert "caption" not in result.output.replace("figcaption", "")


def test_a_captioner_that_cannot_be_opened_leaves_the_rest_whole(project):
    (CAPTIONER / "model.safetensors").write_bytes(b"broken")
    result = explain("photos")
    assert result.exit_code == 1
    assert len(sentences(result)) == 1
    assert files() == ["2-maps.png", "cat_1-maps.png", "dog_1-maps.png", "index.html"]


@pytest.mark.parametrize("family", ["deit", "dinov2", "dinov2_with_registers"])
def test_any_saved_classifier(project, family):
    save_tiny("other", family, ("left", "right"), scale=0.2, image_size=32)
    (record,) = records(explain("photos/cat", "--model", "other", "--json", "--no-caption"))
    assert {one["label"] for one in record["predictions"]} == {"left", "right"}
    assert record["grid"] == [4, 4]


@pytest.mark.parametrize("make", [_beit, _clip])
def test_a_head_that_ignores_the_class_token_is_told_and_its_map_is_that_of_the_patches(project, make):
    torch.manual_seed(0)
    model = AutoModelForImageClassification.from_config(make())
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained("other")
    ViTImageProcessor().save_pretrained("other")
    result = explain("photos/cat", "--model", "other", "--json", "--no-caption", "--out", "explain")
    (record,) = records(result)
    assert record["readout"] == "the head reads the mean of the patches and no class token"
    assert html.escape(record["readout"]) in Path("explain/index.html").read_text()
    classifier = open_classifier("other")
    pixels = classifier.pixel_values([open_photo("photos/cat/1.png")])
    with torch.no_grad(), record_attention(classifier.model, layers=[-1], queries=None) as attention:
        classifier.model(pixels)
    rows = attention.record(-1).rows()[0].mean(dim=0)[:, 1:]
    maps = {"patches": rows[1:].mean(dim=0), "class token": rows[0]}
    patches, class_token = ((one / one.sum()).view(4, 4).numpy() for one in maps.values())
    np.testing.assert_allclose(record["maps"]["head_mean"], patches, rtol=1e-4)
    assert not np.allclose(class_token, patches, rtol=0.01), "the class token's is another map"


def test_photos_are_stretched_where_the_saved_processor_would_crop(project):
    save_tiny("other", "dinov2", scale=0.2)
    Path("other/preprocessor_config.json").unlink()
    BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 48, "width": 48}).save_pretrained("other")
    write_photo("wide.png", size=(300, 50))
    result = explain("wide.png", "--model", "other", "--json", "--no-caption")
    assert result.exit_code == 0, sentences(result)
    assert records(result)[0]["grid"] == [6, 6]


def test_a_model_without_head_or_class_token(project):
    save_pretrained("dinov2", Path("bare"))
    from transformers import AutoModel

    AutoModel.from_pretrained("bare").save_pretrained("bare")
    (told,) = sentences(explain("photos/cat", "--model", "bare"))
    assert "the weights of --model bare lack classifier" in told
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    ResNetForImageClassification(config).save_pretrained("resnet")
    shutil.copy("bare/preprocessor_config.json", "resnet")
    (told,) = sentences(explain("photos/cat", "--model", "resnet"))
    assert "--model resnet: a resnet model does not cut the photo into patches" in told


def test_several_labels_are_told_apart_one_by_one(project):
    save_tiny("other", scale=0.2, problem_type="multi_label_classification")
    (record,) = records(explain("photos/cat", "--model", "other", "--json", "--no-caption"))
    classifier = load_finetuned("other")
    logits = classifier.model(classifier.pixel_values([open_photo("photos/cat/1.png")])).logits[0]
    expected = torch.sigmoid(logits).sort(descending=True).values.tolist()
    assert [one["probability"] for one in record["predictions"]] == pytest.approx(expected, abs=1e-4)


def test_the_page_has_room_for_so_many_and_says_what_lies_beside(project, monkeypatch):
    monkeypatch.setattr("vit_atlas.explain.page.MOST", 2)
    assert explain("photos", "--no-caption").exit_code == 0
    page = Path("explain/index.html").read_text()
    assert page.count("<article>") == 2
    assert "pictures of 1 more lie beside it" in page


def test_stopping_leaves_a_page_of_what_is_done(project, monkeypatch):
    from vit_atlas.explain import run

    def stop(path, content=None):
        if path.as_posix() == "photos/dog/2.png":
            raise KeyboardInterrupt
        return open_photo(path)

    monkeypatch.setattr(run, "read_photo", stop)
    assert explain("photos", "--no-caption").exit_code != 0
    assert Path("explain/index.html").read_text().count("<article>") == 2


def test_a_class_is_compared_with_the_answer_by_every_class_specific_method(project):
    (plain,) = records(explain("photos/cat/1.png", "--json", "--no-caption"))
    answer, other = (one["label"] for one in plain["predictions"])
    result = explain("photos/cat/1.png", "--json", "--no-caption", "--out", "out", "--class", other, "--class", answer)
    (record,) = records(result)
    assert list(record["maps"]) == class_specific()
    asked, same = record["classes"]
    assert (asked["label"], same["label"]) == (other, answer)
    assert asked["probability"] == plain["predictions"][1]["probability"]
    classifier = load_finetuned()
    pixels = classifier.pixel_values([open_photo("photos/cat/1.png")])
    label = {name: number for number, name in classifier.id2label.items()}[other]
    expected = make_maps(run_pass(classifier, pixels, torch.tensor([label])), ["1"], class_specific(), MapOptions())
    for method in class_specific():
        shares = expected[method][0] / (expected[method].sum() or 1)
        np.testing.assert_allclose(asked["maps"][method], shares, rtol=1e-3, atol=1e-7)
        # A map without anything (of two classes, what speaks for one speaks against the other) counts as an even one.
        new, old = (np.array(one["maps"][method]) if np.any(one["maps"][method]) else 1 / 16 for one in (asked, record))
        change = (new - old) * 16
        np.testing.assert_allclose(asked["differences"][method], change, atol=1e-4)
        assert np.abs(asked["differences"][method]).max() > 0.01
        assert not np.any(same["differences"][method])
    assert files("out") == [f"1-class-{label}.png", "1-maps.png", "index.html"]
    page = html.unescape(Path("out/index.html").read_text())
    assert f"Why not {other} (" in page
    assert page.count("moved</figcaption>") == len(class_specific())
    assert "It is the answer itself." in page


def test_classes_that_do_not_exist_or_cannot_be_compared_are_told_at_once(project):
    (told,) = sentences(explain("photos/cat/1.png", "--class", "doog", "--class", "zebra", "--class", "DOG"))
    assert told == (
        "--class doog is no class of the model: the nearest are dog; "
        "--class zebra is no class of the model: it has cat <&>, dog"
    )
    (told,) = sentences(explain("photos/cat/1.png", "--class", "dog", "--method", "rollout"))
    assert told.startswith("--class compares maps of classes, and rollout make the same map for every class: add one")
    assert not Path("explain").exists()


def test_a_name_of_several_classes_asks_for_a_number():
    names = {0: "crane", 1: "dog", 2: "crane", 3: "7"}
    assert find_labels(names, ["2", "7", "Dog", "dog"]) == (2, 3, 1)
    with pytest.raises(AtlasError, match="crane is the name of the classes 0 and 2: give the number of one"):
        find_labels(names, ["crane"])


def test_another_models_answer_stands_beside(project):
    save_tiny("other", "dinov2", ("left", "right"), scale=0.2)
    result = explain("photos/cat/1.png", "--json", "--no-caption", "--out", "out", "--compare-with", "other")
    (record,) = records(result)
    (alone,) = records(explain("photos/cat/1.png", "--json", "--no-caption", "--model", "other"))
    compared = record.pop("compared_with")
    assert compared == {"model": "other"} | {
        name: alone[name] for name in ("predictions", "readout", "layer", "grid", "maps")
    }
    assert (record,) == (*records(explain("photos/cat/1.png", "--json", "--no-caption")),)
    assert files("out") == ["1-compared.png", "1-maps.png", "index.html"]
    page = Path("out/index.html").read_text()
    assert "<h3>The same photo by other</h3>" in page
    assert page.count("<figure>") == 3
    assert "  by other: " in explain("photos/cat/1.png", "--no-caption", "--compare-with", "other").stdout


def test_a_model_that_cannot_be_compared_with_is_one_sentence(project):
    (told,) = sentences(explain("photos/cat", "--compare-with", "./nowhere"))
    assert told.startswith("--compare-with is ./nowhere, and no folder has that name")
    save_tiny("other", num_hidden_layers=2)
    (told,) = sentences(explain("photos/cat", "--compare-with", "other", "--layer", "4"))
    assert told.startswith("--compare-with other: --layer 4 does not exist: the model has 2 layers")
