import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tiny_settings import VALUES, params_text, tiny, tiny_settings
from vit_atlas.captioning.dataset import read_dataset
from vit_atlas.captioning.measure.describe import describe
from vit_atlas.captioning.measure.summary import summarise
from vit_atlas.captioning.opening import name_captioner, open_captioner
from vit_atlas.captioning.train.run import train_captioner
from vit_atlas.errors import AtlasError
from vit_atlas.explain.captions import has_captioner
from vit_atlas.io.arrays import LEVELS, read_arrays, unpack_maps
from vit_atlas.io.files import read_json
from vit_atlas.io.summary import write_summary
from vit_atlas.pictures.captions import write_and_draw
from vit_atlas.settings import CaptionsSettings, CatrSettings, NoCaptionerSettings


@pytest.fixture
def trained(project, small):
    train_captioner(small.model_copy(update={"epochs": 12}))
    return project


def make_caption_atlas(settings: CaptionsSettings) -> None:
    """What the stages caption-attn and metrics do."""
    write_and_draw(describe(open_captioner(), read_dataset(), settings), name_captioner())
    write_summary(summarise(tiny_settings(captions=settings.model_dump())))


def pictures():
    return sorted(path.name for path in Path("plots/captions").iterdir())


def test_metrics_table_and_strips(trained):
    Image.new("RGB", (64, 48), (220, 30, 30)).save("data/captioning/images/gallery.jpg")
    make_caption_atlas(tiny(CaptionsSettings, count=2, beams=2))
    metrics = read_json("metrics/caption.json")
    assert metrics["photos_with_captions"] == 9
    assert metrics["photos"] == 10
    assert 0 < metrics["bleu_1"] <= 1
    assert metrics["nouns_scored"] > 0
    assert 0 < metrics["noun_mass"] < 1
    assert 0 < metrics["noun_mass_uniform"] < 0.3
    assert {"bleu_4", "cider", "exact_match", "noun_mass_layer_1", "article_noun_correlation"} <= set(metrics)
    assert metrics["unseen_words"] == 0
    table = pd.read_csv("build/captions.csv")
    assert len(table) == 10
    assert table["reference"].notna().sum() == 9
    assert pictures() == ["51.png", "55.png", "gallery.png"]
    with Image.open("plots/captions/51.png") as strip:
        assert min(strip.size) > 200


def test_the_page_gets_every_word_with_its_map_and_the_nouns_outlines(trained):
    make_caption_atlas(tiny(CaptionsSettings, count=2))
    content = read_json("build/captions/captions.json")
    table = pd.read_csv("build/captions.csv").set_index("image")
    arrays = read_arrays("build/captions/maps.npz", "caption-attn")
    assert [photo["name"] for photo in content["photos"]] == ["51.png", "55.png"]
    for index, photo in enumerate(content["photos"]):
        words = [word["text"] for word in photo["words"]]
        assert " ".join(words) == table.loc[photo["name"], "caption"]
        assert all(0 < word["probability"] <= 1 for word in photo["words"])
        assert photo["references"][0].startswith("A ")
        assert photo["outlines"]["square"].startswith("M")
        layers = unpack_maps(arrays[f"layers_{index}"], arrays[f"layers_{index}_peaks"])
        drawn = unpack_maps(arrays[f"drawn_{index}"], arrays[f"drawn_{index}_peaks"])
        assert layers.shape == (len(words), 2, 4, 4)
        np.testing.assert_allclose(layers.sum(axis=(2, 3)), 1, atol=0.05)
        np.testing.assert_allclose(layers.mean(axis=1), drawn, atol=2 * drawn.max() / LEVELS)
        with Image.open(Path("build/captions") / photo["photo"]) as thumbnail:
            assert thumbnail.size == (48, 36)


def test_photos_that_nobody_captioned_are_measured_where_a_box_says_what_is_there(trained):
    Image.new("RGB", (64, 48), (220, 30, 30)).save("data/captioning/images/boxed.jpg")
    Image.new("RGB", (64, 48), (220, 30, 30)).save("data/captioning/images/bare.jpg")
    with Path("data/captioning/objects.jsonl").open("a") as objects:
        objects.write('{"image": "boxed.jpg", "noun": "square", "box": [0, 0, 32, 48]}\n')
    settings = tiny(CaptionsSettings, photos=("boxed.jpg",))
    make_caption_atlas(settings)
    assert pd.read_csv("build/captions.csv")["image"].tolist()[9:] == ["boxed.jpg"]
    (photo,) = read_json("build/captions/captions.json")["photos"]
    (square,) = [word for word in photo["words"] if word["text"] == "square"]
    assert square["on_mask"]["even"] == 0.5
    assert "on_mask" not in photo["words"][0]
    scores = pd.read_csv("build/captions/words.csv").set_index(["image", "score"])
    assert scores.loc[("boxed.jpg", "noun_mass"), "sum"] == pytest.approx(square["on_mask"]["mass"], abs=1e-5)


def test_same_input_same_bytes(trained):
    settings = tiny(CaptionsSettings, count=1)
    make_caption_atlas(settings)
    files = ("plots/captions/51.png", "metrics/caption.json", "build/captions/maps.npz", "build/captions/captions.json")
    first = [Path(name).read_bytes() for name in files]
    make_caption_atlas(settings)
    assert [Path(name).read_bytes() for name in files] == first


def test_photos_without_any_captions_work(trained):
    for name in ("captions.csv", "objects.jsonl"):
        Path("data/captioning", name).unlink()
    make_caption_atlas(tiny(CaptionsSettings, photos=("03.png", "51.png"), max_length=2, layer=1, head=2))
    metrics = read_json("metrics/caption.json")
    assert metrics["photos_with_captions"] == 0
    assert metrics["bleu_4"] is None
    assert metrics["noun_mass"] is None
    assert metrics["cut_captions"] == 1
    assert pictures() == ["03.png", "51.png"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"photos": ("nobody.jpg",)}, r"captions\.photos names nobody\.jpg"),
        ({"layer": 3}, r"captions\.layer is 3, and the captioner has 2 decoder layers"),
        ({"head": 5}, r"captions\.head is 5"),
    ],
)
def test_wrong_settings_are_named_and_nothing_is_written(trained, settings, expected):
    with pytest.raises(AtlasError, match=expected):
        make_caption_atlas(tiny(CaptionsSettings, **settings))
    assert not Path("plots").exists()
    assert not Path("metrics").exists()


def test_what_cannot_be_used_is_left_out_by_name(trained):
    """Among it masks that fit the photo as it is stored, not as it is seen."""
    Image.new("RGB", (1, 1)).save("data/captioning/images/dot.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open("data/captioning/images/55.png") as photo:
        photo.save("data/captioning/images/55.png", exif=exif)
    Path("data/captioning/images/._51.png").write_bytes(b"\0\5\x16\7")
    make_caption_atlas(tiny(CaptionsSettings))
    metrics = read_json("metrics/caption.json")
    assert metrics["photos"] == 9
    assert metrics["warnings"][0] == "1 photos are left out (dot.png): dot.png first, 1x1 pixels show nothing"
    assert metrics["warnings"][1].startswith("1 masks are not used, the first of 55.png: ")
    assert pd.read_csv("build/captions/left_out.csv")["file"].tolist() == ["dot.png", "55.png"]


def test_no_test_split_is_one_sentence(trained):
    table = Path("data/captioning/captions.csv")
    table.write_text(table.read_text().replace(",test", ",val"))
    with pytest.raises(AtlasError, match="no usable photo in the split `test`"):
        make_caption_atlas(tiny(CaptionsSettings))


def test_stages_read_their_own_section(project, root, monkeypatch, capsys):
    Path("params.yaml").write_text(params_text(captioner=VALUES[CatrSettings] | {"checkpoint": "none.pth"}))
    runpy.run_path(str(root / "stages" / "caption_train.py"), run_name="__main__")
    assert read_json("build/captioner/captioner.json")["kind"] == "catr"
    with pytest.raises(SystemExit):
        runpy.run_path(str(root / "stages" / "caption_attn.py"), run_name="__main__")
    assert "error: none.pth does not exist" in capsys.readouterr().err


def test_no_captioner_is_quick_and_says_so(project, root):
    Path("params.yaml").write_text(params_text(captioner=VALUES[NoCaptionerSettings]))
    for stage in ("caption_train", "caption_attn"):
        runpy.run_path(str(root / "stages" / f"{stage}.py"), run_name="__main__")
    summary = summarise(tiny_settings(captioner=VALUES[NoCaptionerSettings]))
    assert summary.metrics == {"captions": "off: captioner.kind is none"}
    assert [path.name for path in Path("plots/captions").iterdir()] == ["OFF.txt"]
    assert pd.read_csv("build/captions.csv").empty
    assert not has_captioner(None, captions=True)
