from pathlib import Path

import pytest
import torch

from tests.tiny_settings import tiny
from vit_atlas.errors import AtlasError
from vit_atlas.settings import AugmentSettings, FinetuneSettings, ModelSettings
from vit_atlas.training.checkpoints import Best, Checkpoints, only_one, run_key
from vit_atlas.training.history import history_table


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (None, True),
        (Best(0.5, 1.0, 1), True),
        (Best(0.7, 0.1, 1), False),
        (Best(0.6, 0.3, 1), True),
        (Best(0.6, 0.2, 1), False),
        (Best(0.6, 0.1, 1), False),
        (Best(0.5, 0.3, 0), True),
        (Best(0.5, 0.1, 0), False),  # The starting point is left only for a lower loss as well.
    ],
)
def test_better_is_more_accurate_or_as_accurate_with_less_loss(other: Best | None, expected: bool) -> None:
    assert Best(0.6, 0.2, 2).beats(other) == expected


def test_best_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("key")
    assert checkpoints.best() is None
    for number, accuracy in enumerate([0.1 + 0.2, 0.9, 0.5], start=1):
        checkpoints.keep_if_better(Best(accuracy, 1 / 3, number), {"weight": torch.full((2,), float(number))})
    assert checkpoints.best() == Best(0.9, 1 / 3, 2)
    assert torch.equal(checkpoints.best_weights()["weight"], torch.full((2,), 2.0))
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_latest_is_the_newest_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("key")
    assert checkpoints.latest() is None
    for step in (9, 10, 100):
        (checkpoints.folder / f"checkpoint-{step}").mkdir(parents=True)
    checkpoints.mark(9)
    checkpoints.mark(10)
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.name == "checkpoint-10"
    assert not (checkpoints.folder / "checkpoint-100").exists()


def test_key_is_that_of_the_result(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("a")
    weights = {"w": torch.ones(3)}

    def key(code: str = "c", **changed: object) -> str:
        sections = {
            "model": tiny(ModelSettings),
            "augment": tiny(AugmentSettings),
            "finetune": tiny(FinetuneSettings, **changed),  # type: ignore[arg-type]
        }
        return run_key(manifest, sections, weights, code)

    first = key()
    assert key() == first
    assert key(workers=3) == first
    assert key(epochs=9) != first
    assert key(code="other") != first
    weights["w"] = torch.zeros(3)
    assert key() != first
    weights["w"] = torch.ones(3)
    manifest.write_text("b")
    assert key() != first


def test_history_merges_the_logs_of_a_step() -> None:
    table = history_table(
        [
            {"loss": 2.0, "learning_rate": 0.1, "grad_norm": 1.0, "epoch": 0.5, "step": 1},
            {"loss": 1.0, "learning_rate": 0.2, "epoch": 1.0, "step": 2},
            {"eval_loss": 3.0, "eval_accuracy": 0.5, "eval_runtime": 9.0, "epoch": 1.0, "step": 2},
            {"train_runtime": 5.0, "epoch": 1.0, "step": 2},
        ]
    )
    assert table.to_csv(index=False).splitlines() == [
        "step,epoch,train_loss,learning_rate,val_loss,val_accuracy",
        "1,0.5,2.0,0.1,,",
        "2,1.0,1.0,0.2,3.0,0.5",
    ]


def test_the_second_run_in_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with only_one("finetune"):
        with only_one("caption-train"):
            pass
        refused = pytest.raises(
            AtlasError, match=r"finetune is already running in this folder \(.*finetune\.lock\): wait"
        )
        with refused, only_one("finetune"):
            pytest.fail("there were two")
    with only_one("finetune"):
        pass
