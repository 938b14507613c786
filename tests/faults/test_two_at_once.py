"""Two runs in one folder at the same time, and a whole `dvc repro` that is killed."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.conftest import TRAINING, Workshop, hashes
from tests.project import Project, make_project

OUTS = ("build/model", "build/probe", "build/history.csv", "build/trainings/finetune/first/validation.csv")


@pytest.fixture(scope="module")
def project(root: Path, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with git and DVC in which prepare has run."""
    made = make_project(root, tmp_path_factory.mktemp("two") / "project")
    for section, values in TRAINING.items():
        made.set(section, **values)
    made.run("dvc", "repro", "--quiet", "prepare")
    return made


def start_and_pause(project: Project, *command: str) -> "subprocess.Popen[bytes]":
    """Start a command, and come back when it is in the middle of writing the training's second checkpoint."""
    paused = project.folder.parent / "paused"
    environment = project.environment() | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("pause")), str(project.folder / "src")]),
        "PAUSE_AT": "checkpoint-4/trainer_state.json",
        "PAUSED": str(paused),
        "MLFLOW_TRACKING_URI": "none://",
    }
    log = (project.folder.parent / "log").open("wb")
    process = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not paused.exists():
        assert process.poll() is None, (project.folder.parent / "log").read_text()
        assert time.monotonic() < deadline, "it never came to the checkpoint"
        time.sleep(0.02)
    return process


def test_the_second_says_why_not_and_a_killed_repro_goes_on(project: Project, workshop: Workshop) -> None:
    undisturbed = shutil.copytree(project.folder, project.folder.parent / "undisturbed")
    assert workshop.run(undisturbed, "finetune").code == 0

    first = start_and_pause(project, "dvc", "repro", "finetune")
    try:
        checkpoints = hashes(project.folder, ".checkpoints")
        second = project.run("dvc", "repro", "finetune", check=False)
        assert second.returncode != 0
        assert "is busy, it is being blocked by" in second.stderr
        assert f"(PID {first.pid})" in second.stderr

        without_dvc = workshop.run(project.folder, "finetune")
        assert without_dvc.code == 1
        assert "error: finetune is already running in this folder" in without_dvc.output
        assert "Traceback" not in without_dvc.output
        assert without_dvc.steps == 0
        assert hashes(project.folder, ".checkpoints") == checkpoints, "they touched the first one's checkpoints"
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()

    again = project.run("dvc", "repro", "finetune")
    assert "Running stage 'finetune'" in again.stdout
    assert "| 2/12" in again.stderr, "it goes on from the first checkpoint: the second was half written"
    assert "| 0/12" not in again.stderr
    assert hashes(project.folder, *OUTS) == hashes(undisturbed, *OUTS)
    assert "up to date" in project.run("dvc", "status", "finetune").stdout


def test_the_lock_is_let_go_by_a_dead_process(project: Project, workshop: Workshop, trained: Path) -> None:
    copy = shutil.copytree(trained, project.folder.parent / "copy")
    assert workshop.run(copy, "caption_train", {"kind": "step", "at": 2}).code == -signal.SIGKILL
    assert list((copy / ".checkpoints").glob("caption-train.lock"))
    assert workshop.run(copy, "caption_train").code == 0
