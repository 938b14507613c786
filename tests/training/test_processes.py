"""Several processes that train together: who takes which photos, and that two end where one does."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient

from tests.project import TINY_SETTINGS, write_photos, write_tiny_vit
from tests.tiny_settings import params, tiny
from vit_atlas.errors import AtlasError
from vit_atlas.processes import batches, launch, share_of, shared
from vit_atlas.settings import FinetuneSettings
from vit_atlas.training.datasets import CachedTokens, EpochSampler
from vit_atlas.training.sharing import IGNORED, SharedBatches, Uncounted, batch_share


def as_process(patch: pytest.MonkeyPatch, rank: int, count: int) -> None:
    patch.setenv("RANK", str(rank))
    patch.setenv("WORLD_SIZE", str(count))


@pytest.mark.parametrize("photos", [8, 9, 11, 12, 13])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_together_they_see_the_batches_of_one(monkeypatch: pytest.MonkeyPatch, photos: int, count: int) -> None:
    sampler = EpochSampler(photos, seed=3)
    sampler.epoch = 2
    alone = list(sampler)
    expected = [alone[start : start + 4] for start in range(0, photos, 4)]
    parts = []
    for rank in range(count):
        as_process(monkeypatch, rank, count)
        batches = SharedBatches(sampler, 4)
        parts.append(list(batches))
        assert len(parts[-1]) == len(batches) == len(expected)
    for step, batch in enumerate(expected):
        shares = [part[step] for part in parts]
        assert all(shares), "every process has something to do in every step"
        assert sorted(draw for share in shares for draw in share if draw[1] >= 0) == sorted(batch)


def test_a_photo_that_only_keeps_a_process_busy_does_not_count() -> None:
    photos = Uncounted(CachedTokens(np.zeros((1, 3, 2, 2), np.float16), [5, 6, 7]))
    assert photos[0, 2]["labels"] == 7
    assert photos[0, -3]["labels"] == IGNORED
    assert len(photos) == 3


@pytest.mark.parametrize("total", [0, 1, 5, 6])
def test_shares_cover_all_once(monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    covered: list[int] = []
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        covered += share_of(total)
    assert covered == list(range(total))


@pytest.mark.parametrize("total", [0, 1, 7, 8, 9])
def test_batches_are_those_of_one_process_and_each_has_one_owner(monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    alone = batches(total, 2)
    parts = []
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        parts.append(batches(total, 2))
    assert sorted((batch for part in parts for batch in part), key=lambda batch: batch.start) == alone
    assert [index for batch in alone for index in batch] == list(range(total))


def test_shared_work_of_one_process_is_in_order() -> None:
    assert list(shared(sum, range(7), 3, "sums")) == [3, 12, 6]
    assert list(shared(sum, [], 3, "sums")) == []


def test_a_batch_that_cannot_be_shared_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    as_process(monkeypatch, 0, 3)
    assert batch_share(9) == 3
    with pytest.raises(AtlasError, match=r"finetune\.batch_size is 32, which 3 processes cannot share evenly: make it"):
        batch_share(32)


def test_one_process_starts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch("script.py", 1) is False
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert launch("script.py", "auto") is False
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert launch("script.py", 8) is False, "torchrun has started this one"


@pytest.mark.parametrize("wrong", [0, -1, "all"])
def test_a_number_that_is_none(wrong: object) -> None:
    with pytest.raises(ValueError, match="processes"):
        tiny(FinetuneSettings, processes=wrong)  # type: ignore[arg-type]


class Small:
    """A small project whose stages run here, or in processes of their own."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._stages = root / "stages"
        self.folder = folder
        self._settings = params(**TINY_SETTINGS)
        self._settings["finetune"] |= {"epochs": 3, "checkpoint_steps": 4}
        write_photos(folder / "data" / "classification", photos=34)
        write_tiny_vit(folder / "tiny-vit")

    def set_processes(self, processes: int) -> None:
        self._settings["finetune"]["processes"] = processes
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self._settings))

    def run_here(self, stage: str) -> None:
        runpy.run_path(str(self._stages / f"{stage}.py"), run_name="__main__")

    def start(self, stage: str, **environment: str) -> "subprocess.Popen[str]":
        own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | environment
        command = [sys.executable, self._stages / f"{stage}.py"]
        log = (self.folder / "log").open("w")
        return subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log, text=True)

    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "build" / "history.csv")


def wait_for(path: Path, process: "subprocess.Popen[str]", log: Path) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "it never came there"
        time.sleep(0.02)


def test_two_processes_killed_and_resumed_end_where_one_does(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 8 and a last one that two cannot share evenly; the trunk cached by both; one MLflow run each."""
    monkeypatch.chdir(tmp_path)
    small = Small(root, tmp_path)
    small.set_processes(1)
    small.run_here("prepare")
    manifest = pd.read_csv(tmp_path / "build" / "prepared" / "manifest.csv")
    assert (manifest["split"] == "train").sum() % 8 % 2 == 1
    small.run_here("finetune")
    one, files = small.history(), sorted(path.name for path in (tmp_path / "build" / "model").iterdir())
    shutil.rmtree(tmp_path / "build" / "model")

    small.set_processes(2)
    pause = {
        "PYTHONPATH": os.pathsep.join([str(root / "tests" / "faults" / "pause"), str(root / "src")]),
        "PAUSED": str(tmp_path / "paused"),
    }
    first = small.start("finetune", PAUSE_AT="checkpoint-8/trainer_state.json", **pause)
    wait_for(tmp_path / "paused", first, tmp_path / "log")
    first.kill()  # And the two that it started with it.
    assert first.wait() == -signal.SIGKILL
    again = small.start("finetune")
    assert again.wait(300) == 0, (tmp_path / "log").read_text()
    printed = (tmp_path / "log").read_text()
    assert f"| 4/{one['step'].iloc[-1]} " in printed, "it went on from the checkpoint that both had finished"
    assert printed.count("[00:00<?, ?step/s]") == 1, "one progress bar"

    two = small.history()
    assert two["step"].tolist() == one["step"].tolist()
    np.testing.assert_allclose(two["train_loss"], one["train_loss"], rtol=1e-3)
    np.testing.assert_allclose(two["val_loss"], one["val_loss"], rtol=1e-3)
    photos = (manifest["split"] == "val").sum()
    np.testing.assert_allclose(two["val_accuracy"], one["val_accuracy"], atol=1.01 / photos)
    assert sorted(path.name for path in (tmp_path / "build" / "model").iterdir()) == files
    kept = list((tmp_path / ".trunk-cache").iterdir())
    assert len({path.stem for path in kept}) * 2 == len(kept), "each array with its seal"
    assert not list((tmp_path / ".checkpoints").glob("*/*"))
    runs = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_runs(["1"])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2, "one run for each training, not for each process"
