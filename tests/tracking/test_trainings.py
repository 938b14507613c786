"""Several trainings in MLflow: one parent run, a nested run for each seed."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

from vit_atlas.io.files import write_json
from vit_atlas.paths import REPEATS
from vit_atlas.tracking import mirror
from vit_atlas.tracking.trainings import PARENT_TAG

from .helpers import Finished, Server, curve, runs


def evaluated(seeds: dict[int, float]) -> None:
    """Numbers and validation of trainings with such accuracies; seed 0 is the first."""
    by_seed = {str(seed): {"accuracy": accuracy} for seed, accuracy in seeds.items()}
    over = {"accuracy_over_seeds": sum(seeds.values()) / len(seeds), "by_seed": by_seed} if len(seeds) > 1 else {}
    write_json("metrics/evaluate.json", {"accuracy": seeds[0], **over})
    write_json("metrics/caption.json", {"by_seed": {"0": {"bleu_4": 0.3}, "4": {"bleu_4": None}}})
    for seed in seeds.keys() - {0}:
        (REPEATS / str(seed)).mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"step": [2, 4], "val_accuracy": [0.5, seeds[seed]]}).to_csv(
            REPEATS / str(seed) / "validation.csv", index=False
        )


def tree() -> tuple[mlflow.entities.Run, dict[str, mlflow.entities.Run]]:
    """The parent and its nested runs by name."""
    found = runs()
    (parent,) = (run for run in found if PARENT_TAG not in run.data.tags)
    nested = {run.info.run_name: run for run in found if run is not parent}
    assert {run.data.tags[PARENT_TAG] for run in nested.values()} <= {parent.info.run_id}
    return parent, nested


def repeats(project: Finished, seeds: list[int]) -> None:
    """What DVC leaves: settings that ask for ``seeds``, and a record of these and of one that was taken out."""
    project.lock(finetune={"epochs": 2, "repeats": seeds})
    lock: dict[str, Any] = yaml.safe_load(Path("dvc.lock").read_text())
    for seed in [*seeds, 77]:
        lock["stages"][f"repeat@{seed}"] = {"outs": [{"path": f"build/trainings/finetune/{seed}", "md5": "a.dir"}]}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))


def test_a_nested_run_for_every_seed_on_a_server(
    project: Finished, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "repeats")
    evaluated({0: 0.75, 1: 0.7, 2: 0.8})
    repeats(project, [1, 2])
    first = mirror()
    parent, nested = tree()
    assert first is not None
    assert first.run_id == parent.info.run_id
    assert parent.data.metrics["evaluate/accuracy_over_seeds"] == pytest.approx(0.75)
    assert not [name for name in parent.data.metrics if "by_seed" in name]
    assert nested.keys() == {f"model, seed {seed}" for seed in (0, 1, 2)} | {"captioner, seed 0"}
    assert {run.info.status for run in [parent, *nested.values()]} == {"FINISHED"}
    assert nested["model, seed 2"].data.metrics["accuracy"] == 0.8
    assert curve(nested["model, seed 2"].info.run_id, "training/val_accuracy") == [(2, 0.5), (4, 0.8)]
    assert curve(nested["model, seed 0"].info.run_id, "training/train_loss")[-1] == (4, 0.5)

    again = mirror()
    assert again is not None
    assert (again.how, again.run_id) == ("found", first.run_id)
    same, still = tree()
    assert same.data.to_dictionary() == parent.data.to_dictionary()
    assert {name: run.data.to_dictionary() for name, run in still.items()} == {
        name: run.data.to_dictionary() for name, run in nested.items()
    }


def test_a_mirror_cut_short_is_completed(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated({0: 0.75, 1: 0.7, 2: 0.8})
    repeats(project, [1, 2])
    with monkeypatch.context() as broken:
        broken.setattr("vit_atlas.tracking.trainings._validation", lambda seed: 1 // (seed - 1) and {})
        assert mirror() is None
    assert tree()[0].info.status == "FAILED"
    assert mirror() is not None
    parent, nested = tree()
    assert parent.info.status == "FINISHED"
    assert {run.info.status for run in nested.values()} == {"FINISHED"}
    assert nested["model, seed 1"].data.metrics["training/val_accuracy"] == 0.7


def test_the_record_of_a_seed_that_is_asked_for_no_more_makes_no_other_result(project: Finished) -> None:
    repeats(project, [])
    first = mirror()
    project.lock(finetune={"epochs": 2, "repeats": []})
    again = mirror()
    assert first is not None
    assert again is not None
    assert again.run_id == first.run_id
