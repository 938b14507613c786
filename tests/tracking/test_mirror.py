"""The mirror: one run a result, whole whether or not DVC ran the stages, the same on a second look."""

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from click.testing import Result
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from PIL import Image
from typer.testing import CliRunner

from tests.tiny_settings import params_text
from vit_atlas.io.files import write_json
from vit_atlas.provenance import Commit
from vit_atlas.tracking import Mirrored, mirror

from .helpers import DATA_HASH, Finished, Server, client, curve, files, free_port, runs, show, stream, write_model


def contents(run_id: str) -> str:
    """Everything that a run holds, as text, for comparing."""
    run = client().get_run(run_id).to_dictionary()
    curves = {name: curve(run_id, name) for name in run["data"]["metrics"]}
    return json.dumps([run["data"], run["inputs"], curves, files(run_id)], sort_keys=True, default=str)


# -- one run a result


def test_the_run_of_the_training_becomes_the_run_of_the_result(project: Finished) -> None:
    run_id = stream(project)
    assert show() == Mirrored(run_id, "adopted", f"sqlite:///{project.folder / 'mlflow.db'}")
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert curve(run_id, "training/train_loss") == [(1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)]
    assert curve(run_id, "training/val_accuracy") == [(2, 0.5), (4, 0.75)]


def test_a_restored_result_is_whole_without_any_training(project: Finished) -> None:
    assert (made := show()).how == "made"
    assert curve(made.run_id, "training/train_loss") == [(1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)]
    assert curve(made.run_id, "training/val_accuracy") == [(2, 0.5), (4, 0.75)]
    assert client().get_run(made.run_id).data.metrics["accuracy"] == 0.75


def test_mirroring_again_changes_nothing(project: Finished) -> None:
    stream(project)
    first = show()
    before = contents(first.run_id)
    assert show() == Mirrored(first.run_id, "found", first.uri)
    assert contents(first.run_id) == before
    assert len(runs()) == 1


def test_going_back_to_an_earlier_result_finds_its_run(project: Finished) -> None:
    first = show()
    project.lock(finetune={"epochs": 3})
    second = show()
    project.lock()
    assert show().run_id == first.run_id
    assert second.run_id != first.run_id
    assert len(runs()) == 2


def test_a_new_evaluation_of_one_training_is_a_new_result(project: Finished) -> None:
    stream(project)
    first = show()
    project.lock(evaluate={"seed": 1})
    assert (second := show()).how == "made"
    assert second.run_id != first.run_id
    assert curve(second.run_id, "training/train_loss") == curve(first.run_id, "training/train_loss")


def test_results_of_one_training_have_names_of_their_own(project: Finished) -> None:
    stream(project)
    show()
    project.lock(evaluate={"seed": 1})
    show()
    names = {run.info.run_name for run in runs()}
    assert len(names) == 2
    assert all(name.startswith("embedded-") for name in names)


def test_a_run_has_the_name_of_dvcs_experiment(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "puffy-daks")
    run_id = stream(project)
    assert client().get_run(run_id).info.run_name == "puffy-daks"
    show()
    monkeypatch.delenv("DVC_EXP_NAME")
    show()
    run = client().get_run(run_id)
    assert (run.info.run_name, run.data.tags["dvc_experiment"]) == ("puffy-daks", "puffy-daks")


def test_experiments_that_differ_have_names_that_differ(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC keeps names apart below one commit only."""
    monkeypatch.setenv("DVC_EXP_NAME", "wider")
    show()
    project.lock(finetune={"epochs": 3})
    show()
    names = sorted(run.info.run_name for run in runs())
    assert names[0] == "wider"
    assert re.fullmatch(r"wider-[0-9a-f]{7}", names[1])


def test_the_same_training_again_leaves_one_run(project: Finished) -> None:
    stream(project)
    first = show()
    assert stream(project) != first.run_id
    assert show().run_id == first.run_id
    assert [run.info.run_id for run in runs()] == [first.run_id]


def test_the_reports_own_entry_in_dvc_lock_is_no_part_of_the_key(project: Finished) -> None:
    first = show()
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    lock["stages"]["report"] = {"cmd": "new", "outs": [{"path": "report/index.html", "md5": "x"}]}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    again = show()
    assert again.run_id == first.run_id
    local = mlflow.artifacts.download_artifacts(run_id=first.run_id, artifact_path="settings/dvc.lock")
    assert "report/index.html" in Path(local).read_text()


def test_a_mirror_that_was_cut_short_is_made_whole(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifact", stop)
        assert mirror() is None
    assert [run.info.status for run in runs()] == ["FAILED"], "what lacks its pictures is not finished"
    whole = show()
    assert whole.how == "found"
    assert "report.html" in files(whole.run_id)
    assert [run.info.status for run in runs()] == ["FINISHED"]


def test_a_finished_training_whose_mirror_fails_is_not_finished(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    ended = client().get_run(stream(project)).info.end_time
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifact", stop)
        with pytest.raises(KeyboardInterrupt):
            mirror()
    assert [run.info.status for run in runs()] == ["KILLED"]
    first = show()
    end = client().get_run(first.run_id).info.end_time
    assert end >= ended
    show()
    assert client().get_run(first.run_id).info.end_time == end, "mirroring again leaves the end where it was"


def test_missing_steps_of_an_interrupted_stream_are_filled_in(project: Finished) -> None:
    run_id = stream(project, until=2)
    show()
    assert curve(run_id, "training/train_loss") == [(1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)]


def test_a_run_deleted_by_hand_comes_back_as_a_new_one(project: Finished) -> None:
    first = show()
    client().delete_run(first.run_id)
    assert show().run_id != first.run_id


# -- what a run holds


def test_numbers_settings_and_tags(project: Finished) -> None:
    run = client().get_run(show().run_id)
    assert (
        run.data.metrics.items()
        >= {
            "accuracy": 0.75,
            "evaluate/accuracy_low": 0.7,
            "attention/head_mean/miou": 0.6,
            "atlas/head_mean_miou": 0.6,
            "atlas/interval_low": 0.7,
            "prepare/rejected/total": 1.0,
        }.items()
    )
    assert run.data.params.items() >= {"finetune.epochs": "2", "evaluate.bootstrap_samples": "2000"}.items()
    assert run.data.tags["data_hash"] == DATA_HASH
    assert len(run.data.tags["dvc_lock"]) == 64
    assert "0.750" in run.data.tags["mlflow.note.content"]


def test_settings_are_those_that_made_the_result_and_not_later_ones(project: Finished) -> None:
    Path("params.yaml").write_text(params_text(finetune={"epochs": 99}))
    assert client().get_run(show().run_id).data.params["finetune.epochs"] == "2"


def test_the_data_set_carries_its_dvc_hash(project: Finished) -> None:
    (item,) = client().get_run(show().run_id).inputs.dataset_inputs
    assert (item.dataset.name, item.dataset.digest) == ("data", DATA_HASH)
    assert json.loads(item.dataset.profile)["photos"] == 60


def test_figures_and_tables_lie_in_folders_that_read_well(project: Finished) -> None:
    assert [name for name in files(show().run_id) if not name.startswith("images/")] == [
        "confusion.png",
        "figures/attention/cat.png",
        "metrics/attention.json",
        "metrics/evaluate.json",
        "metrics/prepare.json",
        "reliability.png",
        "report.html",
        "settings/data.dvc",
        "settings/dvc.lock",
        "settings/dvc.yaml",
        "settings/params.yaml",
        "tables/evaluate/confusion.csv",
        "tables/evaluate/reliability.csv",
        "tables/history.csv",
        "training_curves.png",
        "worst_mistakes.png",
    ]


def test_artifacts_lie_in_this_folder(project: Finished) -> None:
    show()
    assert list((project.folder / "mlartifacts").rglob("report.html"))
    assert not (project.folder / "mlruns").exists()


def test_a_folder_that_was_moved_keeps_its_artifacts_with_it(
    project: Finished, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = show()
    new = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(project.folder, new)
    monkeypatch.chdir(new)
    shutil.rmtree(project.folder / "mlartifacts")
    moved = show()
    assert moved.run_id != old.run_id
    assert list((new / "mlartifacts").rglob(f"{moved.run_id}/artifacts/report.html"))
    assert not (project.folder / "mlartifacts").exists()


def test_the_commit_is_the_first_that_is_seen_until_one_holds_the_result(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vit_atlas.tracking.result.read_commit", lambda: Commit("1" * 40, dirty=True))
    run_id = show().run_id
    for sha, dirty, kept, says in (("2", True, "1", "true"), ("3", False, "3", "false"), ("4", False, "3", "false")):
        commit = Commit(sha * 40, dirty)
        monkeypatch.setattr("vit_atlas.tracking.result.read_commit", lambda commit=commit: commit)
        show()
        tags = client().get_run(run_id).data.tags
        assert tags["git_commit"] == tags["mlflow.source.git.commit"] == kept * 40
        assert tags["git_dirty"] == says


def test_the_logged_model_answers_as_the_pipeline_does(project: Finished) -> None:
    from transformers import pipeline

    write_model()
    facts = {"title": "tiny", "base": "A ViT,", "base_model": None, "classes": {"cat": 1, "dog": 1}, "accuracy": 0.5}
    facts |= {"photos": {"train": 2, "val": 2, "test": 2}, "size": {"height": 16, "width": 16}, "settings": {}}
    write_json("build/model/card.json", facts)
    Image.new("RGB", (20, 10), (250, 0, 0)).save("red.png")
    run_id = show().run_id
    show()
    (output,) = client().get_run(run_id).outputs.model_outputs
    logged = client().get_logged_model(output.model_id)
    assert (logged.name, logged.source_run_id) == ("classifier", run_id)
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}"))
    complete = (folder / "artifacts" / "classifier" / "README.md").read_text()
    assert "| accuracy | 0.750 [0.700, 0.800] |" in complete
    assert [column.name for column in loaded.metadata.signature.outputs] == ["label", "score", "classes"]
    (expected,) = pipeline("image-classification", "build/model", device="cpu")("red.png", top_k=1)
    encoded = base64.b64encode(Path("red.png").read_bytes()).decode()
    for question in ("red.png", [encoded], pd.DataFrame({"image": ["red.png"]})):
        (answer,) = loaded.predict(question).to_dict("records")
        assert answer["label"] == expected["label"]
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)
        assert sum(one["score"] for one in answer["classes"]) == pytest.approx(1, abs=1e-5)
    usual = loaded.predict([encoded]).to_dict("records")
    assert loaded.predict([encoded], params={"top_k": None}).to_dict("records") == usual
    assert [len(one) for one in loaded.predict([encoded], params={"top_k": 1})["classes"]] == [1]
    with pytest.raises(mlflow.MlflowException, match="top_k is 0, expected at least 1"):
        loaded.predict([encoded], params={"top_k": 0})
    with pytest.raises(mlflow.MlflowException, match="neither the path"):
        loaded.predict(["nothing.png"])


# -- servers


def command() -> Result:
    """Run `vit-atlas track`."""
    from vit_atlas.cli import commands

    return CliRunner().invoke(commands, ["track"])


def test_a_real_server_takes_the_whole_result(
    project: Finished, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    run_id = stream(project)
    assert show() == Mirrored(run_id, "adopted", server.address)
    before = contents(run_id)
    assert show().how == "found"
    assert contents(run_id) == before
    assert "worst_mistakes.png" in files(run_id)
    repository = get_artifact_repository(client().get_run(run_id).info.artifact_uri)
    artifact = repository.download_artifacts("report.html")
    assert Path(artifact).read_text() == "<p>report</p>"
    assert not (project.folder / "mlartifacts").exists()


def test_a_dead_server_costs_a_warning_and_the_command_says_so_by_its_exit_code(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    answer = command()
    assert answer.exit_code == 1
    assert answer.stderr.count("warning:") == 1
    assert "secret" not in answer.output


def test_track_names_the_run(project: Finished) -> None:
    answer = command()
    assert answer.exit_code == 0
    assert runs()[0].info.run_id in answer.stdout


@pytest.mark.parametrize("text", [None, "", "stages: {}\n", "stages: [\n"])
def test_nothing_to_show_is_one_sentence(
    project: Finished, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    Path("dvc.lock").unlink()
    if text is not None:
        Path("dvc.lock").write_text(text)
    assert mirror() is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "dvc.lock" in said
    assert not runs()


@pytest.mark.parametrize(
    "damage", [lambda: Path("metrics/evaluate.json").write_text("{}"), lambda: Path("build/model").rmdir()]
)
def test_files_of_another_result_are_not_shown_under_this_one(
    project: Finished, capsys: pytest.CaptureFixture[str], damage: Callable[[], object]
) -> None:
    damage()
    assert mirror() is None
    assert "dvc checkout" in capsys.readouterr().err
    assert not runs()


def test_importing_the_package_loads_no_mlflow() -> None:
    script = "import sys, vit_atlas.tracking; assert not {'mlflow', 'torch', 'matplotlib'} & set(sys.modules)"
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", script], check=True)
