"""The public API: few names, loaded when used, each doing what its docstring says."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vit_atlas
from tests.tiny_models import save_pretrained
from vit_atlas import explain_photos, make_map, open_classifier, record_attention, score_map
from vit_atlas.errors import AtlasError


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> object:
    return open_classifier(str(save_pretrained("vit", tmp_path_factory.mktemp("vit"))))


@pytest.fixture
def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_importing_loads_no_torch_and_every_name_is_there() -> None:
    code = """
import sys, vit_atlas
assert "torch" not in sys.modules
assert set(vit_atlas.__all__) <= set(dir(vit_atlas))
assert all(callable(getattr(vit_atlas, name)) for name in vit_atlas.__all__)
assert "torch" in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    # A module of that name, once imported, would take the place of the function.
    assert not {module.name for module in pkgutil.iter_modules(vit_atlas.__path__)} & set(vit_atlas.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vit_atlas.nothing  # noqa: B018


def test_a_map_is_the_recorded_attention(classifier, photo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    photo.save(tmp_path / "photo.png")
    heat = make_map(classifier, tmp_path / "photo.png")
    with torch.no_grad(), record_attention(classifier.model, layers=[-1]) as attention:
        classifier.model(classifier.pixel_values([photo]))
    rows = attention.rows(-1)[0, :, 0, 1:].mean(dim=0).reshape(4, 4).numpy()
    np.testing.assert_allclose(heat, rows, atol=1e-6)
    assert not np.allclose(make_map(classifier, photo, "best_head", head=1), heat)
    one, other = (make_map(classifier, photo, "relevance", target=label) for label in (0, 1))
    assert not np.allclose(one, other)


def test_explanations_have_classes_and_maps(classifier, photo) -> None:  # type: ignore[no-untyped-def]
    (found,) = explain_photos(classifier, [photo], methods=["head_mean", "gradcam"])
    assert found.predictions[0][1] >= 0.5
    assert {name: values.shape for name, values in found.maps.items()} == {"head_mean": (4, 4), "gradcam": (4, 4)}


def test_classes_of_a_multi_label_model_do_not_share_one_probability(
    classifier, photo, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    (single,) = explain_photos(classifier, [photo])
    monkeypatch.setattr(classifier.model.config, "problem_type", "multi_label_classification")
    (several,) = explain_photos(classifier, [photo])
    with torch.no_grad():
        logits = classifier.model(classifier.pixel_values([photo])).logits[0]
    assert sum(one.probability for one in single.predictions) == pytest.approx(1)
    expected = sorted(logits.sigmoid().tolist(), reverse=True)
    assert [one.probability for one in several.predictions] == pytest.approx(expected, abs=1e-6)


def test_scores_of_a_map_that_is_right_and_one_that_is_wrong() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :20] = 1
    heat = np.zeros((4, 4))
    heat[:, :2] = 1
    right, wrong = score_map(heat, mask), score_map(1 - heat, mask)
    assert right["pointing"] == 1
    assert right["mass"] > 0.85
    assert right["best_iou"] > 0.95
    assert right["ap"] > 0.9
    assert wrong["pointing"] == 0
    assert wrong["mass"] < 0.15
    with pytest.raises(AtlasError, match="pixels of the object"):
        score_map(heat, np.zeros((40, 40)))


def test_mistakes_are_one_sentence(classifier, photo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AtlasError, match="no map method nothing: use head_mean"):
        make_map(classifier, photo, "nothing")
    with pytest.raises(AtlasError, match="best_head needs the number of a head"):
        make_map(classifier, photo, "best_head")
    with pytest.raises(AtlasError, match="less than one patch"):
        make_map(classifier, Image.new("RGB", (3, 3)))
    with pytest.raises(AtlasError, match=r"nowhere\.jpg"):
        make_map(classifier, tmp_path / "nowhere.jpg")
    with pytest.raises(AtlasError, match="holds no captioner"):
        vit_atlas.caption(photo, tmp_path)
