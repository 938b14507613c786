"""What can happen to a tracking server, and what it costs: one warning, and nothing once `vit-atlas track` has run.

Servers are real where a process or a socket can play the fault; a limit on the size of files stands in for a full disk.
"""

import logging
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pytest
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

from vit_atlas.tracking import Stream, mirror, open_stream
from vit_atlas.tracking.client import DATABASE, connect, short_timeouts, warn
from vit_atlas.tracking.mirror import Mirrored

from .helpers import HISTORY, Finished, Server, client, curve, files, free_port, runs, stream, write_model

WHOLE = [(1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)]
BIG = 8 * 2**20
"""Bytes of a page that no longer fits where files may have half of that."""


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    """A server that tests may kill, as long as they start it again."""
    folder = tmp_path_factory.mktemp("mistreated")
    shutil.copy(empty_database, folder / DATABASE)
    with Server(folder) as server:
        yield server


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> "Told":
    return Told(capfd, caplog)


class Told:
    """What the user was told, by whichever library."""

    def __init__(self, capture: pytest.CaptureFixture[str], log: pytest.LogCaptureFixture) -> None:
        self._capture, self._log = capture, log

    def lines(self) -> list[str]:
        """What was printed, and what was logged so that Python prints it, since the last look."""
        logged = [record.getMessage() for record in self._log.records if record.levelno >= logging.WARNING]
        self._log.clear()
        return logged + "".join(self._capture.readouterr()).splitlines()

    def one_warning(self) -> str:
        """The one line since the last look, a warning."""
        lines = self.lines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("warning: ")
        assert "vit-atlas track" in lines[0]
        return lines[0]


def whole(project: Finished) -> Mirrored:
    """Mirror, and look whether the run is whole and nothing is there twice."""
    mirrored = mirror()
    assert mirrored is not None
    assert [run.info.status for run in runs()] == ["FINISHED"]
    assert curve(mirrored.run_id, "training/train_loss") == WHOLE
    for name, value in client().get_run(mirrored.run_id).data.metrics.items():
        assert name.startswith("training/") or curve(mirrored.run_id, name) == [(0, value)]
    assert "report.html" in files(mirrored.run_id)
    return mirrored


@contextmanager
def small_files(pids: list[int]) -> Iterator[None]:
    """Let processes write no file of more than half of BIG, as if the disk were full."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (BIG // 2, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == leader:
                found.append(int(path.name))
        except ProcessLookupError:
            continue
    return found


def send(opened: Stream, rows: list[dict]) -> None:
    for row in rows:
        opened.log(int(row["step"]), {name: value for name, value in row.items() if name != "step"})


def test_down_at_the_start_and_killed_in_the_middle(
    project: Finished, own_server: Server, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "killed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert stream(project) == "None"
    assert "127.0.0.1" in told.one_warning()

    monkeypatch.setenv("MLFLOW_TRACKING_URI", own_server.address)
    rows = HISTORY.to_dict("records")
    with open_stream(project.training_key(), project.sections()) as opened:
        send(opened, rows[:2])
        own_server.end(signal.SIGKILL)
        send(opened, rows[2:])
    told.one_warning()
    assert mirror() is None
    told.one_warning()

    own_server.start()
    (left,) = runs()
    assert left.info.status == "RUNNING"
    assert curve(left.info.run_id, "training/train_loss") == WHOLE[:2]
    assert whole(project) == Mirrored(left.info.run_id, "adopted", own_server.address)
    assert whole(project).how == "found"
    assert told.lines() == []


@pytest.mark.parametrize("big", ["report/index.html", "build/model/model.safetensors"])
def test_a_server_whose_disk_is_full(
    project: Finished, own_server: Server, big: str, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"full {big}")
    monkeypatch.setenv("VIT_ATLAS_REGISTERED_MODEL", Path(big).stem)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", own_server.address)
    write_model()
    Path(big).write_bytes(b"." * BIG)
    run_id = stream(project)
    with small_files(session(own_server.process.pid)):
        assert mirror() is None
    told.one_warning()
    assert whole(project) == Mirrored(run_id, "found", own_server.address, "1", Path(big).stem)
    (model,) = client().search_logged_models([client().get_run(run_id).info.experiment_id])
    assert model.status == "READY", "what was cut short is gone"
    (line,) = told.lines()
    assert line.startswith("note: version 1")


def test_a_full_disk_here(project: Finished, told: Told) -> None:
    Path("report/index.html").write_bytes(b"." * BIG)
    run_id = stream(project)
    with small_files([os.getpid()]):
        assert mirror() is None
    assert "File too large" in told.one_warning()
    assert whole(project).run_id == run_id
    assert told.lines() == []


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes every connection and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_silent_server_holds_nobody_up(
    project: Finished, silent: str, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    # The user's own limit, for the test's sake; the next test is about ours.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    assert stream(project) == "None"
    told.one_warning()
    assert mirror() is None
    told.one_warning()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert whole(project).how == "made"


def test_waiting_is_limited_where_the_user_set_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = MLFLOW_HTTP_REQUEST_TIMEOUT.get()
    with short_timeouts():
        assert (MLFLOW_HTTP_REQUEST_TIMEOUT.get(), MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()) == (10, 1)
    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == usual
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with short_timeouts():
        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 77


@pytest.mark.parametrize("status", [500, 503, 507])
def test_a_server_that_refuses_everything(
    project: Finished, status: int, monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status, "Insufficient Storage")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{refusing.server_port}")
        assert stream(project) == "None"
        told.one_warning()
        assert mirror() is None
        told.one_warning()
        refusing.shutdown()


def test_a_run_that_was_asked_for_twice_is_kept_once(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server made the run, its answer was lost, the request was sent again."""
    make = mlflow.MlflowClient.create_run

    def twice(self: mlflow.MlflowClient, *arguments: object, **options: object) -> object:
        make(self, *arguments, **options)
        return make(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "create_run", twice)
        stream(project)
    assert len(runs()) == 2
    assert whole(project).how == "adopted"


# -- MLflow as people have it: the remedy is in the sentence, and never cut off


def test_a_folder_as_store_is_answered_with_what_to_set(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(mlflow.MlflowException) as refusal:
        connect()
    told.lines()
    warn("show this result", refusal.value)
    line = told.one_warning()
    assert "sqlite:///mlflow.db" in line
    assert "MLFLOW_ALLOW_FILE_STORE=true" in line


def test_an_old_schema_is_answered_with_the_command_that_mends_it(
    told: Told, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "old.db"
    shutil.copy(empty_database, database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
        connection.commit()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with pytest.raises(mlflow.MlflowException) as refusal:
        connect()
    told.lines()
    warn("show this result", refusal.value)
    assert f"mlflow db upgrade sqlite:///{database}" in told.one_warning()


def test_two_at_once_on_a_fresh_database_both_find_it(tmp_path: Path) -> None:
    """Without a lock one of them meets a schema that the other has half made."""
    code = "from vit_atlas.tracking.client import connect; print(connect().experiment_id)"
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/fresh.db"}
    both = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers == ["1", "1"]


@pytest.mark.parametrize("fresh", [True, False])
def test_mirrors_at_once_leave_one_whole_run(project: Finished, fresh: bool) -> None:
    """Without a lock the model was sent twice."""
    if fresh:
        Path(DATABASE).unlink()
    write_model()
    # All have imported what they need before the first begins.
    code = "import mlflow.pyfunc; from vit_atlas.tracking import mirror; print(flush=True); input(); mirror()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert not [line for text in said for line in text.splitlines() if line.startswith("warning")]
    assert len(client().search_model_versions("")) == 1
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert len(client().search_logged_models([run.info.experiment_id])) == 1
