"""A training that is killed goes on from its last whole checkpoint, and ends in the same bytes as one left alone."""

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Workshop, hashes, set_params

OUTS = {
    "finetune": ("build/model", "build/probe", "build/history.csv", "build/trainings/finetune/first/validation.csv"),
    "caption_train": ("build/captioner",),
}
STEPS = {"finetune": 12, "caption_train": 12}
EVERY = {"finetune": 2, "caption_train": 1}
KINDS = ("step", "bytes", "event", "bytes", "event")
MOMENTS = [(stage, kind, seed) for stage in OUTS for seed, kind in enumerate(KINDS)]
LARGEST = 80_000
"""Some bytes fewer than a checkpoint's largest file has: a cut below this hits one file or another."""


@pytest.fixture(scope="module")
def events(workshop: Workshop, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """File events of each training from its first step to its end: the moments there are."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("events") / "project")
    counted = {}
    for stage in OUTS:
        ended = workshop.run(folder, stage)
        assert (ended.code, ended.steps) == (0, STEPS[stage]), ended.output
        counted[stage] = ended.events
    assert hashes(folder, *OUTS["finetune"]) == hashes(trained, *OUTS["finetune"]), "two whole runs differ"
    return counted


def moment_of(kind: str, seed: int, stage: str, events: int) -> dict[str, Any]:
    """A moment of this kind, drawn by lot."""
    lot = random.Random(f"{stage} {seed}")
    if kind == "step":
        return {"kind": kind, "at": lot.randint(2, STEPS[stage])}
    if kind == "event":
        return {"kind": kind, "at": lot.randint(1, events)}
    checkpoint = lot.randint(1, STEPS[stage] // EVERY[stage])
    return {"kind": kind, "at": lot.randint(1, LARGEST), "checkpoint": checkpoint}


def whole_checkpoint(folder: Path) -> int:
    """The step of the newest checkpoint that is marked whole, or 0."""
    marks = (folder / ".checkpoints").glob("*/checkpoint-*/complete.json")
    return max((int(mark.parent.name.rpartition("-")[2]) for mark in marks), default=0)


def half_written(folder: Path) -> list[Path]:
    """Checkpoints that were begun and never marked whole."""
    found = (folder / ".checkpoints").glob("*/checkpoint-*")
    return [path for path in found if not (path / "complete.json").exists()]


@pytest.mark.parametrize(("stage", "kind", "seed"), MOMENTS)
def test_a_killed_training_goes_on_and_ends_the_same(
    project: Path, trained: Path, workshop: Workshop, events: dict[str, int], stage: str, kind: str, seed: int
) -> None:
    for out in OUTS[stage]:
        (shutil.rmtree if (project / out).is_dir() else Path.unlink)(project / out)
    killed = workshop.run(project, stage, moment_of(kind, seed, stage, events[stage]))
    assert killed.code == -(signal.SIGXFSZ if kind == "bytes" else signal.SIGKILL), killed.output
    if kind == "bytes":
        assert half_written(project), "it was cut off while a checkpoint was being written"
    done = whole_checkpoint(project)
    assert done >= (killed.steps - 1) // EVERY[stage] * EVERY[stage] - EVERY[stage]

    resumed = workshop.run(project, stage)
    assert resumed.code == 0, resumed.output
    assert resumed.steps == STEPS[stage] - done, "it went on from the newest whole checkpoint"
    assert hashes(project, *OUTS[stage]) == hashes(trained, *OUTS[stage])
    assert not list((project / ".checkpoints").glob("*/checkpoint-*"))
    assert not list((project / "build").rglob(".*")), "a temporary name was left behind"


def test_killed_again_and_again(project: Path, trained: Path, workshop: Workshop) -> None:
    """Every process takes two steps and is killed in the third; the training ends all the same."""
    (project / "build" / "history.csv").unlink()
    for _ in range(3):
        assert workshop.run(project, "finetune", {"kind": "step", "at": 3}).code == -signal.SIGKILL
    ended = workshop.run(project, "finetune")
    assert (ended.code, ended.steps) == (0, STEPS["finetune"] - 3 * 2), ended.output
    assert hashes(project, *OUTS["finetune"]) == hashes(trained, *OUTS["finetune"])


@pytest.mark.parametrize("stage", list(OUTS))
@pytest.mark.parametrize("change", ["settings", "data"])
def test_a_checkpoint_of_another_training_is_not_taken(
    project: Path, workshop: Workshop, stage: str, change: str
) -> None:
    assert workshop.run(project, stage, {"kind": "step", "at": 8}).code == -signal.SIGKILL
    assert whole_checkpoint(project) > 0
    if change == "settings":
        set_params(project, {"finetune": "finetune", "caption_train": "captioner"}[stage], weight_decay=0.11)
    elif stage == "finetune":
        manifest = project / "build" / "prepared" / "manifest.csv"
        manifest.write_text(manifest.read_text().replace("blue/blue_1.png", "blue/blue_01.png", 1))
    else:
        captions = project / "data" / "captioning" / "captions.csv"
        captions.write_text(captions.read_text().replace("a blue disc", "the blue disc", 1))
    ended = workshop.run(project, stage)
    assert (ended.code, ended.steps) == (0, STEPS[stage]), ended.output


@pytest.mark.parametrize("stage", list(OUTS))
@pytest.mark.parametrize(
    "damage", ["newest cut off", "newest lacks a file", "all cut off", "mark cut off", "best weights"]
)
def test_a_damaged_checkpoint_is_told_and_not_taken(
    project: Path, trained: Path, workshop: Workshop, stage: str, damage: str
) -> None:
    assert workshop.run(project, stage, {"kind": "step", "at": 8}).code == -signal.SIGKILL
    newest = whole_checkpoint(project)
    (folder,) = {mark.parents[1] for mark in (project / ".checkpoints").glob("*/checkpoint-*/complete.json")}
    last = folder / f"checkpoint-{newest}"
    previous = newest - EVERY[stage]
    if damage == "newest lacks a file":
        (last / "scheduler.pt").unlink()
    elif damage == "mark cut off":
        cut(last / "complete.json")
    elif damage == "best weights":
        cut(folder / "best.safetensors")
        previous = 0
    else:
        cut(last / "optimizer.pt")
        if damage == "all cut off":
            cut(folder / f"checkpoint-{previous}" / "model.safetensors")
            previous = 0
    ended = workshop.run(project, stage)
    assert (ended.code, ended.steps) == (0, STEPS[stage] - previous), ended.output
    told = [line for line in ended.output.splitlines() if "is not as it was written: training " in line]
    assert len(told) == (2 if damage == "all cut off" else 1), ended.output
    assert hashes(project, *OUTS[stage]) == hashes(trained, *OUTS[stage])


def test_curves_in_mlflow_have_no_step_twice(project: Path, workshop: Workshop) -> None:
    from mlflow import MlflowClient

    # Killed after the log of the last checkpoint: a resumed run comes by some of the logged steps again.
    assert workshop.run(project, "finetune", {"kind": "step", "at": 6}, tracking=True).code == -signal.SIGKILL
    assert workshop.run(project, "finetune", tracking=True).code == 0
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("vit-atlas")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    history = (project / "build" / "history.csv").read_text().splitlines()
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "training/train_loss")]
    assert len(steps) == len(set(steps)) == len(history) - 1


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
