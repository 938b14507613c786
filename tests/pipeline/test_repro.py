"""Real `dvc repro`, start to end."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import ModelCard

from tests.project import STAGES, Project, make_project, write_photos
from vit_atlas.settings import Settings

SECTIONS = {
    "data": {"seed": 5},
    "model": {"revision": "other"},
    "augment": {"horizontal_flip": 0.25},
    "finetune": {"epochs": 1},
    "evaluate": {"calibration_bins": 5},
    "embeddings": {"tiles": 3},
    "attention": {"count": 1},
    "interventions": {"drawn": 1},
    "gallery": {"thumbnails": 1},
    "captioner": {"weight_decay": 0.1},
    "captions": {"count": 1},
}


def test_first_repro_runs_every_stage_and_makes_every_out(finished: tuple[Project, list[str]]) -> None:
    project, stages = finished
    assert sorted(stages) == sorted(STAGES)
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    for stage in STAGES:
        for out in lock["stages"][stage]["outs"]:
            assert (project.folder / out["path"]).exists(), out["path"]


def test_second_repro_does_nothing(project: Project) -> None:
    assert project.repro() == []
    assert project.changed_stages() == set()
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_numbers_and_curves_are_whole(finished: tuple[Project, list[str]]) -> None:
    metrics = finished[0].json("metrics/evaluate.json")
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    history = pd.read_csv(finished[0].folder / "build/history.csv")
    assert list(history["step"]) == [1, 2, 3, 4, 5, 6]
    assert history["train_loss"].notna().all()
    assert list(history.loc[history["val_accuracy"].notna(), "epoch"]) == [1, 2]


def test_the_model_carries_a_card_that_the_hub_reads(finished: tuple[Project, list[str]]) -> None:
    card = ModelCard.load(finished[0].folder / "build/model/README.md")
    assert card.data.pipeline_tag == "image-classification"
    assert "validation" in card.text.lower()


def test_sections_listed_here_are_all_there_are() -> None:
    assert set(SECTIONS) == set(Settings.model_fields)


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_changing_a_section_touches_exactly_the_stages_that_declare_it(project: Project, section: str) -> None:
    stages = yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"]
    changed = {section, *(f"{section}.{key}" for key in SECTIONS[section])}
    declaring = {
        name for name, stage in stages.items() if changed & {*stage.get("params", [])} and "matrix" not in stage
    }
    assert declaring, f"no stage declares {section}"
    project.set(section, **SECTIONS[section])
    assert project.changed_stages() == declaring


def test_a_drawing_setting_reruns_its_stage_and_the_page_alone(project: Project) -> None:
    project.set("attention", count=1)
    assert project.repro() == ["attn-viz", "metrics", "report"]


def test_going_back_restores_every_stage_from_the_cache(project: Project) -> None:
    """Whatever was changed, only what turns results into git's numbers and the page runs again."""
    numbers = {path.name: path.read_bytes() for path in (project.folder / "metrics").iterdir()}
    for section, values in SECTIONS.items():
        project.set(section, **values | ({"revision": None} if section == "model" else {}))
    assert set(project.repro()) == set(STAGES)
    project.commit("everything changed")
    project.run("git", "checkout", "--quiet", "HEAD~1", "--", "params.yaml")
    assert set(project.repro()) <= {"metrics", "report"}
    assert {path.name: path.read_bytes() for path in (project.folder / "metrics").iterdir()} == numbers
    runs = project.runs()
    assert len(runs) == 2, "one run a result"
    for run in runs:
        assert run["status"] == "FINISHED"
        assert {"accuracy", "training/val_loss"} <= set(run["metrics"]), run["metrics"]
        assert run["models"] == 1
    assert {run["params"]["finetune.epochs"] for run in runs} == {"1", "2"}


def test_a_file_that_nobody_can_use_trains_nothing(project: Project) -> None:
    (project.folder / "data/classification/red/broken.jpg").write_bytes(b"no photo")
    project.run("dvc", "add", "--quiet", "data")
    ran = set(project.repro())
    assert {"prepare", "metrics", "report"} <= ran
    assert not ran & {"finetune", "evaluate", "embed-viz", "caption-train", "caption-attn"}
    assert project.json("metrics/prepare.json")["rejected_count"] == 1


def test_another_mask_scores_again_and_trains_nothing(project: Project) -> None:
    masks = project.folder / "data/classification/masks"
    (masks / "red_0.png").unlink()
    (masks / "red_0.png").write_bytes((masks / "blue_0.png").read_bytes())
    project.run("dvc", "repro", "prepare")
    assert project.changed_stages() >= {"attn-viz", "interventions", "gallery", "suspects"}
    assert not project.changed_stages() & {"finetune", "evaluate", "embed-viz", "caption-train", "caption-attn"}


def test_another_photo_under_the_same_name_trains_again(project: Project) -> None:
    photos = sorted((project.folder / "data/classification/red").iterdir())
    photos[0].write_bytes((project.folder / "data/classification/blue/blue_0.png").read_bytes())
    project.run("dvc", "add", "--quiet", "data")
    assert {"prepare", "finetune", "evaluate"} <= set(project.repro())


def test_a_change_shows_in_dvcs_own_comparisons(project: Project) -> None:
    project.set("finetune", epochs=1, learning_rate=0.0001)
    project.repro()
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    assert "ece" in difference["metrics/evaluate.json"]
    plots = json.loads(project.run("dvc", "plots", "diff", "--json").stdout)
    assert {"Loss", "Confusion", "Reliability"} <= set(plots["data"])
    assert any(name.startswith("plots/attention/") for name in plots["data"])
    table = project.run("dvc", "exp", "show", "--csv").stdout
    assert "finetune.epochs" in table.splitlines()[0]
    assert "accuracy" in table.splitlines()[0]


def test_your_own_folder(project: Project) -> None:
    """What the README tells: replace data/classification, `dvc add data`, `dvc repro`."""
    project.run("rm", "-r", "data/classification")
    write_photos(project.folder / "data" / "classification", photos=8, seed=1)
    project.run("dvc", "add", "--quiet", "data")
    assert set(project.repro()) >= {"prepare", "finetune", "evaluate"}
    assert project.json("metrics/prepare.json")["photos"] == 24


def test_two_clones_make_the_same_bytes(finished: tuple[Project, list[str]], root: Path, tmp_path: Path) -> None:
    other = make_project(root, tmp_path / "second")
    other.run("dvc", "repro", "evaluate", "metrics")
    for path in ("metrics/evaluate.json", "metrics/prepare.json", "build/model/model.safetensors", "build/history.csv"):
        assert (other.folder / path).read_bytes() == (finished[0].folder / path).read_bytes(), path


def test_mistyped_setting_stops_before_any_work(project: Project) -> None:
    project.set("finetune", epoch=3)
    done = project.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "params.yaml: unknown key `finetune.epoch`: did you mean `epochs`?" in done.stderr
    assert "Traceback" not in done.stderr
