"""Pictures of chosen photos: which files there are, what they say, and what is saved beside them."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from tests.tiny_settings import tiny
from vit_atlas.attention.artefacts import Diagnosis
from vit_atlas.attention.photos import choose_photos
from vit_atlas.attention.pictures import (
    describe,
    draw_photos,
    draw_study,
    look_at,
    score_bars,
    study_diagnoses,
    study_histogram,
)
from vit_atlas.attention.study import run_study
from vit_atlas.attention.summary import study_metrics
from vit_atlas.comparison.maps import SavedMaps, difference, draw_differences, load_maps, maps_of, save_maps
from vit_atlas.errors import AtlasError
from vit_atlas.settings import AttentionSettings

from .conftest import Project, make_project

SETTINGS = tiny(
    AttentionSettings, count=2, scored_photos=8, faithfulness_photos=1, faithfulness_steps=1, bootstrap_samples=200
)


def _draw(project: Project, folder: Path) -> dict[str, np.ndarray]:
    folder.mkdir()
    names = choose_photos("auto", SETTINGS.count, project.manifest, project.predictions, (4, 4))
    study = run_study(project.classifier, project.manifest, SETTINGS)
    histogram = study_histogram(study, project.classifier, project.manifest, names)
    assert len(study_diagnoses(study, histogram)) == (0 if study.found is None else len(study.tested.masks))
    maps = draw_photos(project.classifier, project.manifest, names, study, histogram, SETTINGS, folder)
    draw_study(study, study_metrics(study, SETTINGS), histogram, folder)
    return maps


def test_every_picture_is_there_and_the_maps_are_kept(project: Project, tmp_path: Path) -> None:
    maps = _draw(project, tmp_path / "plots")
    stems = {Path(str(name)).stem for name in maps["image_ids"]}
    common = {"comparison", "layers", "norms", "scores", "by_class"}
    assert {path.stem for path in (tmp_path / "plots").glob("*.png")} == stems | common
    assert maps["maps"].shape == (2, 11, 4, 5)


def test_photos_without_masks_are_drawn_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    maps = _draw(make_project(masks=False), tmp_path / "plots")
    assert "scores.png" not in [path.name for path in (tmp_path / "plots").iterdir()]
    assert "best_head" not in maps["methods"]


def test_a_photo_less_than_a_patch_is_named(project: Project) -> None:
    from PIL import Image

    Image.new("RGB", (30, 3)).save("photos/0.png")
    with pytest.raises(AtlasError, match=r"photos/0\.png is 30x3 pixels, less than one patch of 4x4"):
        list(look_at(project.classifier, project.manifest, ["0.png"], gradients=False))


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
    maps = {
        "image_ids": np.array(["a.png"]),
        "paths": np.array(["photos/a.png"]),
        "methods": np.array(["head_mean"]),
        "maps": np.random.default_rng(0).random((1, 1, 2, 3)),
    }
    save_maps(tmp_path / "maps.npz", maps)
    back = load_maps(tmp_path / "maps.npz")
    assert back.image_ids == ["a.png"]
    np.testing.assert_array_equal(back.maps, maps["maps"])
    with pytest.raises(AtlasError, match="does not exist: run `dvc repro attn-viz`"):
        load_maps(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_text("no maps")
    with pytest.raises(AtlasError, match="does not hold saved maps"):
        load_maps(tmp_path / "bad.npz")


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
    amounts = draw_differences(old, new, tmp_path / "changes")
    assert amounts == {"head_mean": 0.0}
    assert [path.name for path in (tmp_path / "changes").iterdir()] == ["00_1.png"]
    with pytest.raises(AtlasError, match="share no photo"):
        draw_differences(old, SavedMaps(["9.png"], ["x"], ["head_mean"], values[:1, :1]), tmp_path / "none")
    with pytest.raises(AtlasError, match="grids of 4x5 and 2x5 patches"):
        draw_differences(old, SavedMaps(["1.png"], ["x"], ["head_mean"], values[:1, :1, :2]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def test_maps_of_a_commit_come_from_dvc(project: Project, tmp_path: Path) -> None:
    def commit(values: np.ndarray) -> None:
        maps = {"image_ids": np.array(["1.png"]), "paths": np.array(["photos/1.png"]), "methods": np.array(["legrad"])}
        save_maps("build/attention/maps.npz", {**maps, "maps": values})
        with Repo() as repo:
            repo.add("build/attention")
        _run("git", "add", "build/attention.dvc")
        _run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "maps")

    Path("build").mkdir()
    _run("git", "init", "-q")
    Repo.init().close()
    left, right = np.zeros((1, 1, 4, 5)), np.zeros((1, 1, 4, 5))
    left[..., :2], right[..., 3:] = 1, 1
    commit(left)
    commit(right)
    assert draw_differences(maps_of("HEAD~1"), maps_of("build/attention/maps.npz"), "changes") == {"legrad": 1.0}
    assert draw_differences(maps_of("HEAD"), maps_of("build/attention/maps.npz"), "changes") == {"legrad": 0.0}
    with pytest.raises(AtlasError, match="the maps of nowhere cannot be had"):
        maps_of("nowhere")
