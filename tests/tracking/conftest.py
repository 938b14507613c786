"""A project whose stages have run, without running them; MLflow databases and a server on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from vit_atlas.files import write_json
from vit_atlas.tracking.client import DATABASE

from .helpers import DATA_HASH, HISTORY, Project, free_port


@pytest.fixture(autouse=True)
def no_server_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MLFLOW_") and name != "MLFLOW_DISABLE_TELEMETRY":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: making them takes seconds, copying the file does not."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("database")
    SqlAlchemyStore(f"sqlite:///{folder / DATABASE}", str(folder / "unused"))
    return folder / DATABASE


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Project:
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, DATABASE)
    write_json("metrics/prepare.json", {"photos": 60, "rejected": {"total": 1, "files": ["x.gif: animated"]}})
    write_json(
        "metrics/evaluate.json", {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "probe_accuracy": 0.5}
    )
    write_json("metrics/attention.json", {"head_mean": {"miou": 0.6}, "unknown": None})
    for name in ("plots/evaluate/mistakes.png", "plots/attention/cat.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(name)
    tables = {
        "plots/evaluate/confusion.csv": "actual,predicted\na,a\na,b\n",
        "plots/evaluate/reliability.csv": "confidence,accuracy,count\n0.8,0.75,4\n",
        "build/prepared/manifest.csv": "image_id\na.jpg\n",
        "data.dvc": yaml.safe_dump({"outs": [{"md5": DATA_HASH, "path": "data"}]}),
        "report/index.html": "<p>report</p>",
        "dvc.yaml": "stages: {}\n",
    }
    for name, text in tables.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    Path("build/model").mkdir()
    write_json("build/prepared/classes.json", ["a", "b"])
    HISTORY.to_csv("build/history.csv", index=False)
    made = Project(tmp_path)
    made.lock()
    return made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """A real `mlflow server` on this machine, which keeps the artifacts itself; stopped when the tests end."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / DATABASE)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{DATABASE}", "--artifacts-destination", str(folder / "files")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"mlflow server did not start:\n{log.read_text()}")
