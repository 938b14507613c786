"""Pictures of chosen photos: which files there are, what they say, and what is saved beside them."""

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_settings import tiny
from vit_atlas.attention.artefacts import Diagnosis
from vit_atlas.attention.contrast import difference
from vit_atlas.attention.passes import Pass
from vit_atlas.attention.photos import choose_photos
from vit_atlas.attention.study import Study, run_study
from vit_atlas.comparison.maps import SavedMaps, draw_differences
from vit_atlas.errors import AtlasError
from vit_atlas.paths import ATTENTION_DATA, ATTENTION_PLOTS
from vit_atlas.pictures.attention import describe, draw_study, explain_photos, score_bars, write_and_draw
from vit_atlas.settings import AttentionSettings

from .conftest import Project, make_project

SETTINGS = tiny(
    AttentionSettings, count=2, scored_photos=8, faithfulness_photos=1, faithfulness_steps=1, bootstrap_samples=200
)


def _draw(project: Project) -> Study:
    """What attn-viz does, in the project's own folders."""
    names = choose_photos("auto", SETTINGS.count, project.manifest, project.predictions, (4, 4))
    study = run_study(project.classifier, project.manifest, SETTINGS, names)
    assert len(study.diagnoses) == (0 if study.maps is None else len(study.tested.masks))
    write_and_draw(project.classifier, project.pretrained, project.manifest.find(names), study, SETTINGS)
    return study


def test_every_picture_is_there_and_the_maps_are_kept(project: Project) -> None:
    _draw(project)
    maps = SavedMaps.load(ATTENTION_DATA / "maps.npz")
    stems = {Path(name).stem for name in maps.image_ids}
    common = {"comparison", "layers", "norms", "scores", "by_class", "tokens"}
    assert {path.stem for path in ATTENTION_PLOTS.glob("*.png")} == stems | common
    assert maps.maps.shape == (2, 11, 4, 5)
    assert {path.name for path in (ATTENTION_DATA / "photos").iterdir()} == {f"{stem}.jpg" for stem in stems}


def test_photos_without_masks_are_drawn_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _draw(make_project(masks=False))
    assert "scores.png" not in [path.name for path in ATTENTION_PLOTS.iterdir()]
    assert "best_head" not in SavedMaps.load(ATTENTION_DATA / "maps.npz").methods


def test_no_table_by_class_where_no_photo_chose_thresholds(project: Project, tmp_path: Path) -> None:
    study = run_study(project.classifier, project.manifest, SETTINGS)
    draw_study(replace(study, scores=study.scores.assign(miou=float("nan"))), {}, tmp_path / "without")
    draw_study(study, {}, tmp_path / "with")
    assert {path.name for path in (tmp_path / "with").iterdir()} >= {"norms.png", "by_class.png"}
    assert {path.name for path in (tmp_path / "without").iterdir()} == {"norms.png"}


def test_a_photo_less_than_a_patch_is_named(project: Project) -> None:
    Image.new("RGB", (30, 3)).save("photos/0.png")
    with pytest.raises(
        AtlasError, match=r"photos/0\.png is 30x3 pixels, less than one patch of 4x4.*attention\.photos"
    ):
        list(explain_photos(project.classifier, project.pretrained, project.manifest.find(["0.png"]), None, SETTINGS))


def test_passes_are_not_kept(project: Project) -> None:
    """Memory does not grow with the number of drawn photos: of each, plain arrays are left, and no graph."""
    photos = project.manifest.find(["0.png", "1.png"])
    explained = list(explain_photos(project.classifier, project.pretrained, photos, 0, SETTINGS))
    gc.collect()
    alive = [item for item in gc.get_objects() if isinstance(item, Pass)]
    assert len(explained) == 2
    assert not alive


def test_bars_are_sorted_by_iou_and_leave_out_what_is_unknown() -> None:
    metrics = {"rollout.miou": 0.2, "head_mean.miou": 0.5, "head_mean.miou_low": 0.4, "head_mean.miou_high": 0.6}
    metrics |= {"gaussian.miou": 0.3, "rollout.mass": None}
    groups = score_bars(metrics)
    (title,) = groups
    assert title.startswith("mean IoU at one threshold")
    bars = groups[title]
    assert [bar.label for bar in bars] == ["head mean", "centre Gaussian", "rollout"]
    assert [bar.baseline for bar in bars] == [False, True, False]
    assert (bars[0].low, bars[0].high) == (0.4, 0.6)
    assert (bars[1].low, bars[1].high) == (0.3, 0.3)


def test_diagnosis_in_words() -> None:
    outliers = np.array([[True, True, False, False]])
    assert describe(Diagnosis(outliers, 0.5, 0.5, 1.0, 0.31)) == (
        "2 high-norm outlier tokens, 50% outside the object, 100% in the left half, drawing 31% of the attention"
    )
    assert describe(Diagnosis(~outliers & False, 0.0, None, None, 0.0)) == "no high-norm outlier tokens"


def test_saved_maps_come_back_and_bad_files_are_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 1, 2, 3))
    SavedMaps(["a.png"], ["photos/a.png"], ["head_mean"], values).save(tmp_path / "maps.npz")
    back = SavedMaps.load(tmp_path / "maps.npz")
    assert (back.image_ids, back.paths, back.methods) == (["a.png"], ["photos/a.png"], ["head_mean"])
    np.testing.assert_array_equal(back.maps, values)
    with pytest.raises(AtlasError, match="does not exist: run `dvc repro attn-viz`"):
        SavedMaps.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_text("no maps")
    with pytest.raises(AtlasError, match=r"bad\.npz cannot be read"):
        SavedMaps.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", values=values)
    with pytest.raises(AtlasError, match="does not hold saved maps"):
        SavedMaps.load(tmp_path / "other.npz")


def test_difference_is_of_shares() -> None:
    old, new = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [5.0, 5.0]])
    change, amount = difference(old, new)
    assert amount == 1
    np.testing.assert_allclose(change, [[-2, -2], [2, 2]])
    assert difference(old, old * 7)[1] == 0


def test_difference_pictures_of_common_photos(project: Project, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((2, 2, 4, 5))
    old = SavedMaps(["0.png", "1.png"], ["photos/0.png", "photos/1.png"], ["head_mean", "uniform"], values)
    new = SavedMaps(["1.png", "2.png"], ["photos/1.png", "photos/2.png"], ["head_mean", "legrad"], values[::-1])
    amounts, pictures = draw_differences(old, new, tmp_path / "changes")
    assert amounts == {"head_mean": 0.0}
    assert pictures == {"1.png": "00_1.png"}
    assert [path.name for path in (tmp_path / "changes").iterdir()] == ["00_1.png"]
    with pytest.raises(AtlasError, match="share no photo"):
        draw_differences(old, SavedMaps(["9.png"], ["x"], ["head_mean"], values[:1, :1]), tmp_path / "none")
    with pytest.raises(AtlasError, match="grids of 4x5 and 2x5 patches"):
        draw_differences(old, SavedMaps(["1.png"], ["x"], ["head_mean"], values[:1, :1, :2]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_photos_of_one_name_in_several_classes_have_a_picture_each(project: Path, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).random((3, 1, 4, 5))
    ids = ["cat/1.png", "dog/1.png", "dog/2.png"]
    result = SavedMaps(ids, ["0.png", "1.png", "gone.png"], ["head_mean"], maps)
    amounts, pictures = draw_differences(result, result, tmp_path / "changes", Path("photos"))
    assert pictures == {"cat/1.png": "00_1.png", "dog/1.png": "01_1.png"}
    assert {path.name for path in (tmp_path / "changes").iterdir()} == set(pictures.values())
    assert amounts == {"head_mean": 0.0}
