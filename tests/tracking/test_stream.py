"""Curves while a training runs, and what a missing server costs."""

from collections.abc import Callable

import mlflow
import pytest

from vit_atlas.tracking import Stream, open_stream
from vit_atlas.tracking.client import tracking_uri

from .helpers import Finished, client, curve, free_port, runs


def train(project: Finished, steps: range, act: Callable[[Stream], None] | None = None) -> str | None:
    with open_stream(project.training_key(), project.sections()) as stream:
        for step in steps:
            stream.log(step, {"train_loss": 1 / step, "val_loss": None, "broken": float("nan")})
        if act:
            act(stream)
        return stream.run_id


def test_curves_and_settings_are_there_while_training_runs(project: Finished) -> None:
    def look(stream: Stream) -> None:
        run = client().get_run(stream.run_id)
        assert run.info.status == "RUNNING"
        assert run.data.params["finetune.epochs"] == "2"
        assert run.data.params["model.name"] == "embedded"
        assert curve(run.info.run_id, "training/train_loss") == [(1, 1.0), (2, 0.5)]
        assert set(run.data.metrics) == {"training/train_loss"}

    run_id = train(project, range(1, 3), look)
    assert client().get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("full"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_training_that_stops_says_so_and_goes_on_in_the_same_run(
    project: Finished, error: BaseException, status: str
) -> None:
    def stop(stream: Stream) -> None:
        raise error

    with pytest.raises(type(error)):
        train(project, range(1, 4), stop)
    (run,) = runs()
    assert run.info.status == status
    # The last checkpoint was made at step 1, so steps 2 and 3 come again.
    assert train(project, range(2, 6)) == run.info.run_id
    assert curve(run.info.run_id, "training/train_loss") == [(step, 1 / step) for step in range(1, 6)]
    assert [item.info.status for item in runs()] == ["FINISHED"]


def test_another_training_is_another_run(project: Finished) -> None:
    first = train(project, range(1, 2))
    project.lock(finetune={"epochs": 3})
    assert train(project, range(1, 2)) != first
    assert len(runs()) == 2


def test_another_folder_never_goes_on_in_this_run(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    first = train(project, range(1, 2))
    monkeypatch.setattr("vit_atlas.tracking.client.socket.gethostname", lambda: "another-machine")
    assert train(project, range(1, 2)) != first


def test_a_dead_server_is_one_warning_without_credentials(
    project: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    assert train(project, range(1, 50)) is None
    said = capsys.readouterr().err
    assert said.count("warning:") == 1
    assert "127.0.0.1" in said
    assert "secret" not in said


def test_a_server_that_dies_during_training_is_one_warning(
    project: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def die(stream: Stream) -> None:
        def refuse(*arguments: object, **options: object) -> None:
            raise ConnectionError("connection refused by http://me:secret@host/x?token=secret")

        monkeypatch.setattr(mlflow.MlflowClient, "log_batch", refuse)
        for step in range(3, 6):
            stream.log(step, {"train_loss": 0.1})

    train(project, range(1, 3), die)
    said = capsys.readouterr().err
    assert said.count("warning:") == 1
    assert "secret" not in said


def test_a_slow_server_costs_a_training_little_and_misses_nothing(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of the test's own an answer takes 8 seconds and a step 1: 200 steps would take half an hour."""
    clock = [0.0]
    monkeypatch.setattr("vit_atlas.tracking.stream.monotonic", lambda: clock[0])
    send, calls = mlflow.MlflowClient.log_batch, []

    def slow(self: mlflow.MlflowClient, *arguments: object, **options: object) -> None:
        if options.get("metrics"):
            calls.append(clock[0])
            clock[0] += 8
        send(self, *arguments, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", slow)

    def go_on(stream: Stream) -> None:
        for step in range(2, 201):
            clock[0] += 1
            stream.log(step, {"train_loss": 1 / step})

    run_id = train(project, range(1, 2), go_on)
    assert curve(str(run_id), "training/train_loss") == [(step, 1 / step) for step in range(1, 201)]
    assert 4 < len(calls) < 10
    assert clock[0] < 200 + 30 + 0.05 * clock[0] + 2 * 8
