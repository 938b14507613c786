"""A tracking server as a team runs it: PostgreSQL for the numbers, S3 for the files; real ones, started here."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest

from vit_atlas.tracking import mirror

from .helpers import Finished, Server, client, curve, files, free_port, runs, stream, write_model

PASSWORD = "p@ss/planted"
ESCAPED = "p%40ss%2Fplanted"
NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}
"""PostgreSQL refuses to run as root."""


def program(name: str) -> str:
    """Where one of PostgreSQL's programs is: on the PATH, or where Debian puts it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or (str(places[0]) if places else None)
    return found or pytest.skip(f"PostgreSQL's {name} is not installed (Debian: the package postgresql)")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of an empty PostgreSQL database on this machine, password included."""
    psycopg = pytest.importorskip("psycopg")
    postgres, initdb = program("postgres"), program("initdb")
    as_nobody = NOBODY if os.geteuid() == 0 else {}
    # Not under pytest's folder, which is closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="vit-atlas-postgres-"))
    try:
        (folder / "password").write_text(PASSWORD)
        if as_nobody:
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        data, port = str(folder / "data"), free_port()
        make = [initdb, "-D", data, "-U", "atlas", "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "-N"]
        subprocess.run(make, cwd=folder, check=True, capture_output=True, **as_nobody)  # type: ignore[call-overload]
        command = [postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **as_nobody)  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    psycopg.connect(
                        host="127.0.0.1", port=port, user="atlas", password=PASSWORD, dbname="postgres"
                    ).close()
                    break
                except psycopg.OperationalError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        pytest.fail(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
                    time.sleep(0.1)
            yield f"postgresql://atlas:{ESCAPED}@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Bucket:
    """An S3 bucket on this machine."""

    name: str
    environment: dict[str, str]

    def keys(self) -> list[str]:
        import boto3

        s3 = boto3.client("s3", endpoint_url=self.environment["MLFLOW_S3_ENDPOINT_URL"])
        return [item["Key"] for item in s3.list_objects_v2(Bucket=self.name).get("Contents", [])]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    s3 = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    s3.start()
    try:
        address = "http://{}:{}".format(*s3.get_host_and_port())
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s3-planted", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="atlas")
        yield Bucket("atlas", {"MLFLOW_S3_ENDPOINT_URL": address})
    finally:
        s3.stop()


def test_postgresql_and_s3_behind_a_server_hold_the_whole_result(
    project: Finished,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
    bucket: Bucket,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_model()
    folder = tmp_path_factory.mktemp("team")
    with Server(folder, database, "s3://atlas/mlflow", **bucket.environment) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        run_id = stream(project)
        first = mirror()
        assert first is not None
        assert (first.run_id, first.how, first.version) == (run_id, "adopted", "1")
        stored = bucket.keys()
        assert any(key.endswith(f"{run_id}/artifacts/report.html") for key in stored)
        assert any(key.endswith("model.safetensors") for key in stored)
        assert curve(run_id, "training/train_loss") == [(1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)]
        assert client().get_run(run_id).data.metrics["accuracy"] == 0.75

        again = mirror()
        assert again is not None
        assert (again.run_id, again.how, again.version) == (run_id, "found", "1")
        assert len(runs()) == 1
        assert bucket.keys() == stored
        assert curve(run_id, "training/train_loss") == [(1, 2.0), (2, 1.5), (3, 1.0), (4, 0.5)]
        assert files(run_id)[0] == "confusion.png"
        read = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="report.html")
        assert Path(read).read_text() == "<p>report</p>"

        # The database itself, as a machine without the server in between would use it.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
        assert [run.info.run_id for run in runs()] == [run_id]
    said = "".join(capfd.readouterr()) + (folder / "log").read_text()
    assert "planted" not in said


def test_a_database_that_refuses_or_is_gone_is_one_warning_at_once(
    project: Finished, monkeypatch: pytest.MonkeyPatch, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("MLflow's own ten attempts"))
    wrong = database.replace(ESCAPED, "wrong-planted")
    gone = f"postgresql://atlas:{ESCAPED}@127.0.0.1:{free_port()}/postgres?password=planted"
    for address in (wrong, gone):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert stream(project) == "None"
        said = "".join(capfd.readouterr())
        assert said.count("warning:") == said.count("\n") == 1
        assert "127.0.0.1" in said
        assert "planted" not in said
