"""The connection to MLflow, and what happens when there is none."""

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from vit_atlas.errors import AtlasError

DATABASE = "mlflow.db"
EXPERIMENT = "vit-atlas"
ARTIFACTS = "mlartifacts"

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

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = tracking_uri()
    client = mlflow.MlflowClient(uri)
    return Connection(client, uri, _experiment(client, uri))


def tracking_uri() -> str:
    """Give the address that ``MLFLOW_TRACKING_URI`` names, or that of the database file in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(DATABASE).resolve()}"


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
def impatient(seconds: int = 10) -> Iterator[None]:
    """Let a silent server fail after one retry of ``seconds`` (not minutes), unless the user set other limits."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds),
    }
    added = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def place() -> str:
    """Name this folder on this machine without telling either: two clones never take over each other's runs."""
    return sha256(f"{socket.gethostname()}:{Path.cwd()}".encode()).hexdigest()[:16]


def warn(action: str, error: BaseException) -> None:
    """Say in one line on stderr that tracking did not work, where, why, and that nothing else is lost."""
    if isinstance(error, AtlasError):
        sys.stderr.write(f"warning: could not {action} in MLflow: {error}\n")
        return
    uri = redact(tracking_uri())
    text = redact(str(error))
    reason = (text.splitlines() or [type(error).__name__])[0][:200]
    sys.stderr.write(
        f"warning: could not {action} in MLflow at {uri} ({reason}); results are in the files: "
        "run `vit-atlas track` when it answers\n"
    )


def redact(text: str) -> str:
    """Take user names, passwords and query strings out of every address in ``text``."""
    text = re.sub(r"(\w[\w+.-]*://)[^/\s@]+@", r"\1", text)
    return re.sub(r"(\w[\w+.-]*://[^\s?#]+)[?#][^\s]*", r"\1", text)
