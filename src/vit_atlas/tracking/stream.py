"""Curves in MLflow while a training runs."""

import getpass
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from vit_atlas.paths import HISTORY
from vit_atlas.tracking.client import (
    PLACE_TAG,
    RESULT_TAG,
    TRAINING_TAG,
    Connection,
    connect,
    place,
    short_timeouts,
    warn,
)
from vit_atlas.tracking.keys import as_parameters
from vit_atlas.tracking.redaction import redact

CURVES = "training/"
"""Names of curves begin with this; what follows is the column of history.csv."""

EXPERIMENT_VARIABLE = "DVC_EXP_NAME"
"""DVC sets it for the stages of `dvc exp run`."""

PATIENCE = 30.0
"""Seconds that a training waits for the server in all, ..."""
SHARE = 0.05
"""... and this share of the time that it has run."""


class Stream:
    """Where a training loop sends its numbers; after a failure, or without a server, it takes them and does nothing.

    A slow server does not hold a training up: what it may cost is limited (``PATIENCE``, ``SHARE``), and points wait
    for each other and go together once it has cost more.
    """

    def __init__(self, connection: Connection | None, run_id: str | None) -> None:
        self._connection = connection
        self._run_id = run_id
        self._last_step = _last_steps(connection, run_id) if connection and run_id else {}
        self._waiting: list[tuple[str, float, int]] = []
        self._opened, self._spent = monotonic(), 0.0

    @property
    def run_id(self) -> str | None:
        """The MLflow run's id; None when tracking is off."""
        return self._run_id

    def log(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Add one point to each named curve at ``step``; never raises.

        Names are the columns of history.csv (``train_loss``, ``val_accuracy``, ...). None and not-a-number are left
        out. Points that an interrupted training already sent are not sent again when it resumes.
        """
        if self._connection is None:
            return
        points = {f"{CURVES}{name}": float(value) for name, value in metrics.items() if value is not None}
        new = {
            name: value
            for name, value in points.items()
            if math.isfinite(value) and step > self._last_step.get(name, -1)
        }
        self._waiting += [(name, value, step) for name, value in new.items()]
        self._last_step.update(dict.fromkeys(new, step))
        if self._spent <= PATIENCE + SHARE * (monotonic() - self._opened):
            self._send(self._connection)

    def _send(self, connection: Connection) -> None:
        start = monotonic()
        try:
            with short_timeouts():
                log_points(connection, str(self._run_id), self._waiting)
            self._waiting = []
        except Exception as error:
            self._give_up("show the training's curves", error)
        self._spent += monotonic() - start

    def close(self, status: str) -> None:
        """Send what still waits and mark the run FINISHED, FAILED or KILLED; never raises."""
        if self._connection is not None and self._waiting:
            self._send(self._connection)
        if self._connection is None:
            return
        try:
            with short_timeouts():
                self._connection.client.set_terminated(self._run_id, status)
        except Exception as error:
            self._give_up("end the training's run", error)

    def _give_up(self, action: str, error: Exception) -> None:
        self._connection = None
        warn(action, error)


@contextmanager
def open_stream(training_key: str, params: Mapping[str, Any]) -> Iterator[Stream]:
    """Open (or, for a training that was interrupted here, reopen) the MLflow run of a training and stream its curves.

    Args:
        training_key: from :func:`vit_atlas.tracking.training_key`.
        params: the settings sections by name, as for the key; MLflow shows them as parameters.

    Yields:
        A :class:`Stream`. When the block ends the run is FINISHED; when it raises, FAILED, or KILLED by the keyboard.
        A server that cannot be reached costs one warning, and the stream does nothing.
    """
    stream = _open(training_key, params)
    try:
        yield stream
    except BaseException as error:
        stream.close("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    stream.close("FINISHED")


def _open(training_key: str, params: Mapping[str, Any]) -> Stream:
    try:
        with short_timeouts():
            connection = connect()
            found = find_unfinished(connection, training_key)
            run_id = found[0] if found else start_run(connection, training_key, params)
            connection.client.update_run(run_id, status="RUNNING")
            return Stream(connection, run_id)
    except Exception as error:
        warn("open a run", error)
        return Stream(None, None)


def find_unfinished(connection: Connection, training_key: str) -> list[str]:
    """Find the runs of this training, begun in this folder, that are not the run of a result; the newest comes first.

    There is one at most, unless a server made a run and its answer was lost, so that the run was asked for again.
    """
    runs = connection.client.search_runs(
        [connection.experiment_id],
        f"tags.`{TRAINING_TAG}` = '{training_key}' and tags.`{PLACE_TAG}` = '{place()}'",
        order_by=["attributes.start_time DESC"],
    )
    return [run.info.run_id for run in runs if RESULT_TAG not in run.data.tags]


def start_run(connection: Connection, training_key: str, params: Mapping[str, Any]) -> str:
    """Make a run that carries the training's key and ``params``; returns its id."""
    flat = as_parameters(params)
    name = run_name(flat, training_key)
    tags = {
        TRAINING_TAG: training_key,
        PLACE_TAG: place(),
        "mlflow.source.name": "vit-atlas",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    run = connection.client.create_run(connection.experiment_id, run_name=name, tags=tags)
    log_params(connection, run.info.run_id, flat)
    return str(run.info.run_id)


def run_name(flat: Mapping[str, str], key: str) -> str:
    """Name a run: as DVC names the experiment that runs now, or else by the model and the key's first digits."""
    model = flat.get("model.name", "model").rstrip("/").rsplit("/", 1)[-1]
    return os.environ.get(EXPERIMENT_VARIABLE) or f"{model}-{key[:7]}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def log_params(connection: Connection, run_id: str, flat: Mapping[str, str]) -> None:
    """Add parameters to a run, in MLflow's batches and without the secrets that an address may hold."""
    from mlflow.entities import Param

    entities = [Param(name, redact(value)) for name, value in flat.items()]
    for start in range(0, len(entities), 100):
        connection.client.log_batch(run_id, params=entities[start : start + 100])


def log_points(connection: Connection, run_id: str, points: list[tuple[str, float, int]]) -> None:
    """Add (name, value, step) to a run's metrics, in MLflow's batches."""
    from time import time

    from mlflow.entities import Metric

    now = int(time() * 1000)
    entities = [Metric(name, value, now, step) for name, value, step in points]
    for start in range(0, len(entities), 1000):
        connection.client.log_batch(run_id, metrics=entities[start : start + 1000])


def read_curves(path: Path = HISTORY) -> dict[str, dict[int, float]]:
    """Read the table that finetune wrote: for each column (under its name in MLflow) the value at each step."""
    if not path.is_file():
        return {}
    import pandas as pd

    table = pd.read_csv(path)
    columns = [name for name in table.columns if name != "step" and pd.api.types.is_numeric_dtype(table[name])]
    return {
        f"{CURVES}{name}": {int(step): float(value) for step, value in table[["step", name]].dropna().to_numpy()}
        for name in columns
    }


def _last_steps(connection: Connection, run_id: str) -> dict[str, int]:
    """Give the last step that each curve of a reopened run holds."""
    names = connection.client.get_run(run_id).data.metrics
    return {name: max(point.step for point in connection.client.get_metric_history(run_id, name)) for name in names}
