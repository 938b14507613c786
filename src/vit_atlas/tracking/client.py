"""The connection to MLflow, and what happens when there is none."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from vit_atlas.errors import AtlasError
from vit_atlas.tracking.redaction import redact

DATABASE = "mlflow.db"
EXPERIMENT = "vit-atlas"
ARTIFACTS = "mlartifacts"
DATABASES = ("postgresql", "mysql", "mssql")
LOGGERS = ("mlflow", "mlflow.store.db.utils", "urllib3.connectionpool")
"""Loggers that tell of every attempt to reach a server, where one warning is enough."""

TRAINING_TAG = "vit_atlas.training_key"
RESULT_TAG = "vit_atlas.result_key"
PLACE_TAG = "vit_atlas.place"


@dataclass(frozen=True)
class Connection:
    """An MLflow client and the experiment that holds this project's runs."""

    client: Any
    """An ``mlflow.MlflowClient``."""
    uri: str
    """The tracking server's address, or a database's."""
    experiment_id: str


REMEDIES = {
    "filesystem tracking backend": "MLflow no longer writes to folders: set MLFLOW_TRACKING_URI to a database such as "
    "sqlite:///mlflow.db, or set MLFLOW_ALLOW_FILE_STORE=true",
    "out-of-date database schema": "back the database up, then bring it to this MLflow's version with "
    "`mlflow db upgrade {uri}`",
    "Can't locate revision": "a newer MLflow has changed the database: use that version of MLflow, or another database",
    "ENDPOINT_NOT_FOUND": "the server is older than this MLflow: update it, or install its version here",
    "No API found": "the server is older than this MLflow: update it, or install its version here",
}
"""What to do, by what a refusal of MLflow says."""


def connect() -> Connection:
    """Reach the tracking server that ``MLFLOW_TRACKING_URI`` names, or a database file in this folder.

    The experiment (``MLFLOW_EXPERIMENT_NAME``, default ``vit-atlas``) is made when it is missing, and brought back when
    somebody deleted it.

    Raises:
        Exception: whatever mlflow raises when the server does not answer or refuses.
    """
    # MLflow would otherwise report usage to its makers from every run.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = tracking_uri()
    _try_database(uri)
    with _one_at_a_time(uri):
        client = mlflow.MlflowClient(uri)
        return Connection(client, uri, _experiment(client, uri))


def tracking_uri() -> str:
    """Give the address that ``MLFLOW_TRACKING_URI`` names, or that of the database file in this project.

    DVC runs queued experiments in copies of the project that it deletes afterwards; ``DVC_ROOT`` names the project.
    """
    database = Path(os.environ.get("DVC_ROOT", "."), DATABASE)
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database.resolve()}"


@contextmanager
def _one_at_a_time(uri: str) -> Iterator[None]:
    """Let one process make the tables of a database file: a second one would meet a schema that is half there."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    file = Path(uri.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=60):
        yield


def _try_database(uri: str) -> None:
    """Connect once to a database on another machine: MLflow would try ten times, for minutes, and say so each time."""
    if uri.startswith(("http:", "https:", "file:", "sqlite:")) or not uri.split("+")[0].startswith(DATABASES):
        return
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _experiment(client: Any, uri: str) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    # A server knows where its artifacts go; those of a database file go beside it.
    database = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
    home = (database.resolve().parent / ARTIFACTS).as_uri() if database else None
    experiment = client.get_experiment_by_name(name)
    if experiment is not None and home and experiment.artifact_location != home:
        # The folder was moved or copied, and MLflow cannot change where an experiment keeps its artifacts.
        client.rename_experiment(experiment.experiment_id, f"{name} (elsewhere, {experiment.experiment_id})")
        experiment = None
    if experiment is None:
        # The kind tells MLflow's pages that this is training and not work on language models.
        return str(client.create_experiment(name, home, tags={"mlflow.experimentKind": "custom_model_development"}))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


@contextmanager
def short_timeouts(seconds: int = 10) -> Iterator[None]:
    """Let a silent server fail after one retry of ``seconds`` (not minutes), unless the user set other limits.

    Meanwhile MLflow and what it stands on keep quiet: whoever catches the exception says what went wrong, once.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
        "PGCONNECT_TIMEOUT": str(seconds),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    os.environ.update(added)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in added:
            os.environ.pop(name, None)


def place() -> str:
    """Name this folder on this machine without telling either: two clones never take over each other's runs."""
    return sha256(f"{socket.gethostname()}:{Path.cwd()}".encode()).hexdigest()[:16]


def warn(action: str, error: BaseException) -> None:
    """Say in one line on stderr that tracking did not work, where, why, and that nothing else is lost."""
    if isinstance(error, AtlasError):
        sys.stderr.write(f"warning: could not {action} in MLflow: {redact(str(error))}\n")
        return
    uri = redact(tracking_uri())
    text = " ".join(redact(str(error)).split()) or type(error).__name__
    remedy = next((words for sign, words in REMEDIES.items() if sign in text), None)
    if remedy is not None:
        advice = f"{remedy.format(uri=uri)}; then run `vit-atlas track`"
        sys.stderr.write(f"warning: could not {action} in MLflow at {uri}: {advice} (results are in the files)\n")
        return
    reason = next((line for line in redact(str(error)).splitlines() if line.strip()), text)[:200]
    sys.stderr.write(
        f"warning: could not {action} in MLflow at {uri} ({reason}); results are in the files: "
        "run `vit-atlas track` when it answers\n"
    )
