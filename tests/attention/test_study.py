"""The study on a tiny project: who chooses, who is scored, and what the numbers are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tiny_settings import tiny, tiny_settings
from vit_atlas import paths
from vit_atlas.attention import study as module
from vit_atlas.attention.artefacts import Diagnosis
from vit_atlas.attention.collect import collect, with_masks
from vit_atlas.attention.maps import MapOptions
from vit_atlas.attention.methods import METHODS, SCORES, without_baselines
from vit_atlas.attention.scores import best_threshold, score_photo
from vit_atlas.attention.study import Study, run_study
from vit_atlas.attention.summary import class_table, pair_metrics, study_metrics, summarise
from vit_atlas.data.manifest import Manifest
from vit_atlas.errors import AtlasError
from vit_atlas.io.frames import write_csv
from vit_atlas.settings import AttentionSettings

from .conftest import Project, make_project

NAMES = list(METHODS)

SETTINGS = tiny(
    AttentionSettings,
    methods=NAMES,
    scored_photos=20,
    faithfulness_photos=2,
    faithfulness_steps=2,
    bootstrap_samples=200,
    seed=3,
)


def metrics_of(study: Study, settings: AttentionSettings) -> dict[str, Any]:
    return study_metrics(*study.tables(2), settings)


def test_masks_that_are_empty_or_full_are_left_out_and_counted(project: Project) -> None:
    tested = with_masks(project.manifest, "test", 20, project.classifier, 0)
    assert tested.photos.image_ids == [f"{index}.png" for index in range(6)]
    assert tested.excluded == 2
    assert all(mask.shape == (16, 20) for mask in tested.masks)


def test_photos_less_than_a_patch_are_left_out(project: Project) -> None:
    project.manifest.frame.loc[0, "width"] = 3
    tested = with_masks(project.manifest, "test", 20, project.classifier, 0)
    assert "0.png" not in tested.photos.image_ids
    assert tested.too_small == 1


def test_the_sample_is_drawn_by_seed_and_ignores_order(project: Project) -> None:
    def drawn(manifest: Manifest, seed: int) -> list[str]:
        return with_masks(manifest, "test", 4, project.classifier, seed).photos.image_ids

    assert drawn(project.manifest, 1) == drawn(Manifest(project.manifest.frame.iloc[::-1]), 1)
    assert len({tuple(drawn(project.manifest, seed)) for seed in range(6)}) > 1


def test_maps_do_not_depend_on_the_batch(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = Manifest(project.manifest.frame[:5])
    whole = collect(project.classifier, photos, list(NAMES), MapOptions(head=0), "maps")
    monkeypatch.setattr("vit_atlas.attention.collect.TOKENS", 2 * 21)
    parts = collect(project.classifier, photos, list(NAMES), MapOptions(head=0), "maps")
    for name in NAMES:
        np.testing.assert_allclose(parts.maps[name], whole.maps[name], atol=2e-5, rtol=1e-3)
    assert whole.norms.shape == (5, 3, 4, 5)
    assert whole.heads.shape == (5, 2, 4, 5)


def test_thresholds_and_head_come_from_validation_photos_alone(project: Project) -> None:
    study = run_study(project.classifier, project.manifest, SETTINGS)
    known = with_masks(project.manifest, "val", 10, project.classifier, SETTINGS.seed)
    found = collect(project.classifier, known.photos, ["head_mean"], MapOptions(), "maps")
    ious = [score_photo(found.maps["head_mean"][i : i + 1], mask).iou[0] for i, mask in enumerate(known.masks)]
    assert study.choice.photos == 4
    assert study.choice.thresholds["head_mean"] == best_threshold(np.stack(ious))
    best = [
        max(
            np.mean(
                [score_photo(found.heads[i : i + 1, head], mask).iou[0] for i, mask in enumerate(known.masks)], axis=0
            )
        )
        for head in range(2)
    ]
    assert study.choice.head == int(np.argmax(best))


def test_training_photos_choose_where_validation_has_no_masks(project: Project) -> None:
    frame = project.manifest.frame
    frame.loc[frame["split"] == "val", "split"] = "train"
    assert run_study(project.classifier, project.manifest, SETTINGS).choice.photos == 4


def test_scores_are_those_of_each_photo_and_method(project: Project) -> None:
    study = run_study(project.classifier, project.manifest, SETTINGS)
    assert set(study.scores["method"]) == set(NAMES)
    assert len(study.scores) == 6 * len(NAMES)
    assert study.maps is not None
    row = study.scores[(study.scores["image_id"] == "2.png") & (study.scores["method"] == "legrad")].iloc[0]
    expected = score_photo(study.maps.maps["legrad"][2:3], study.tested.masks[2])
    assert row["miou"] == expected.iou[0, study.choice.thresholds["legrad"]]
    assert row["mass"] == pytest.approx(expected.mass[0], rel=1e-5)
    assert row["correct"] == (study.maps.predictions[2] == 0)
    assert set(study.faithfulness["method"]) == set(NAMES) - {"uniform"}
    assert study.faithfulness["image_id"].nunique() == 2


def test_metrics_are_flat_and_complete(project: Project) -> None:
    study = run_study(project.classifier, project.manifest, SETTINGS)
    metrics = metrics_of(study, SETTINGS)
    assert metrics["photos_scored"] == 6
    assert metrics["photos_faithfulness"] == 2
    assert metrics["masks_excluded"] == 2
    assert metrics["photos_too_small"] == 0
    for name in NAMES:
        rows = study.scores[study.scores["method"] == name]
        for score in SCORES:
            assert metrics[f"{name}.{score}"] == pytest.approx(rows[score].mean())
            assert metrics[f"{name}.{score}_low"] <= metrics[f"{name}.{score}"] <= metrics[f"{name}.{score}_high"]
    right = study.scores[(study.scores["method"] == "rollout") & study.scores["correct"].astype(bool)]
    wanted = right["miou"].mean() if len(right) else None
    assert metrics["rollout.miou_right"] == (pytest.approx(wanted) if wanted is not None else None)
    table = study.scores.pivot_table(index="image_id", columns="method", values="miou")
    gains = {name: (table[name] - table["gaussian"]).mean() for name in without_baselines()}
    assert metrics["winner"] == max(gains, key=lambda name: gains[name])
    for name, gain in gains.items():
        assert metrics[f"{name}.miou_over_gaussian"] == pytest.approx(gain)
        assert metrics[f"{name}.miou_over_gaussian_low"] <= gain <= metrics[f"{name}.miou_over_gaussian_high"]
    assert all(value is None or isinstance(value, int | float | str) for value in metrics.values())


def test_the_same_seed_gives_the_same_metrics(project: Project) -> None:
    one = metrics_of(run_study(project.classifier, project.manifest, SETTINGS), SETTINGS)
    assert one == metrics_of(run_study(project.classifier, project.manifest, SETTINGS), SETTINGS)


def test_keys_stay_the_same_without_masks(project: Project, tmp_path: Path) -> None:
    full = metrics_of(run_study(project.classifier, project.manifest, SETTINGS), SETTINGS)
    bare = make_project(masks=False)
    empty = metrics_of(run_study(bare.classifier, bare.manifest, SETTINGS, ["0.png"]), SETTINGS)
    assert list(empty) == list(full)
    assert empty["photos_scored"] == 0
    assert empty["head_mean.miou"] is None
    assert empty["winner"] is None


def test_scoring_and_faithfulness_can_be_turned_off(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    none = tiny(AttentionSettings, scored_photos=0)
    assert run_study(project.classifier, project.manifest, none, ["0.png"]).maps is None
    monkeypatch.setattr(module, "deletion_insertion", None)
    quick = tiny(AttentionSettings, scored_photos=4, faithfulness_photos=0, methods=("head_mean", "gaussian"))
    study = run_study(project.classifier, project.manifest, quick)
    assert len(study.faithfulness) == 0
    assert metrics_of(study, quick)["head_mean.faithfulness"] is None


def test_the_best_head_alone_needs_masks(project: Project) -> None:
    with pytest.raises(AtlasError, match="best_head alone, but no training or validation photo has a usable mask"):
        run_study(
            project.classifier,
            Manifest(project.manifest.frame.assign(mask="")),
            tiny(AttentionSettings, methods=("best_head",)),
        )


def test_table_by_class() -> None:
    scores = pd.DataFrame(
        {
            "image_id": ["a", "a", "b", "b", "c", "c"],
            "class_name": ["cat", "cat", "dog", "dog", "cat", "cat"],
            "method": ["x", "y"] * 3,
            "miou": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        }
    )
    table = class_table(scores)
    assert table.loc["cat"].tolist() == pytest.approx([2, 0.3, 0.4])
    assert table.loc["dog"].tolist() == pytest.approx([1, 0.3, 0.4])


def test_artefacts_are_weighted_by_outliers(project: Project) -> None:
    study = run_study(project.classifier, project.manifest, SETTINGS)
    some = Diagnosis(np.array([[True, True, True, False]]), 0.75, 1.0, 0.5, 0.9)
    few = Diagnosis(np.array([[True, False, False, False]]), 0.25, 0.0, 1.0, 0.1)
    none = Diagnosis(np.zeros((1, 4), bool), 0.0, None, None, 0.0)
    metrics = metrics_of(replace(study, diagnoses=[some, few, none]), SETTINGS)
    assert metrics["artefacts.photos"] == 2
    assert metrics["artefacts.share"] == pytest.approx(1 / 3)
    assert metrics["artefacts.outside"] == pytest.approx(0.75)
    assert metrics["artefacts.left"] == pytest.approx(0.625)
    assert metrics["artefacts.left_low"] <= 0.625 <= metrics["artefacts.left_high"]
    assert metrics["artefacts.present"] == pytest.approx(2 / 3)
    assert list(metrics_of(replace(study, diagnoses=[]), SETTINGS)) == list(metrics)


def test_numbers_are_the_same_from_the_files(project: Project, tmp_path: Path) -> None:
    study = run_study(project.classifier, project.manifest, SETTINGS)
    study.save(paths.ATTENTION_DATA, drawn=2)
    pairs = pd.DataFrame([("0.png", "before_after", "rollout", 0.25)], columns=["image_id", "pair", "method", "moved"])
    write_csv(paths.ATTENTION_DATA / "pairs.csv", pairs)
    summary = summarise(tiny_settings(attention=SETTINGS.model_dump()))
    expected = metrics_of(study, SETTINGS) | pair_metrics(pairs, SETTINGS)
    assert list(summary.metrics) == list(expected)
    for key, value in expected.items():
        assert summary.metrics[key] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), key
    assert summary.tables[paths.ATTENTION_SCORES]["method"].is_unique
