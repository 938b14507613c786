"""A project whose stages have run, without running them; MLflow databases and a server on this machine."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from vit_atlas.io.files import write_json
from vit_atlas.tracking.client import DATABASE

from .helpers import DATA_HASH, HISTORY, Finished, Server


@pytest.fixture(autouse=True)
def no_server_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MLFLOW_") and name != "MLFLOW_DISABLE_TELEMETRY":
            monkeypatch.delenv(name)
    monkeypatch.delenv("DVC_ROOT", raising=False)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: making them takes seconds, copying the file does not."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("database")
    SqlAlchemyStore(f"sqlite:///{folder / DATABASE}", str(folder / "unused"))
    return folder / DATABASE


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Finished:
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, DATABASE)
    write_json("metrics/prepare.json", {"photos": 60, "rejected": {"total": 1, "files": ["x.gif: animated"]}})
    write_json(
        "metrics/evaluate.json", {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "probe_accuracy": 0.5}
    )
    write_json("metrics/attention.json", {"head_mean.miou": 0.6, "unknown": None})
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
    made = Finished(tmp_path)
    made.lock()
    return made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Server]:
    """A real `mlflow server` on this machine, which keeps the artifacts itself."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / DATABASE)
    with Server(folder) as started:
        yield started
