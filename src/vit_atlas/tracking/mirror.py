"""Completing the MLflow run of a result: found, adopted or made, then given whatever it lacks."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from vit_atlas import __version__, paths
from vit_atlas.estimates import Estimate
from vit_atlas.tracking.artifacts import TOP, Artifact, collect
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
from vit_atlas.tracking.grid import log_pictures
from vit_atlas.tracking.keys import as_parameters
from vit_atlas.tracking.model import log_model
from vit_atlas.tracking.names import shown_numbers
from vit_atlas.tracking.redaction import redact
from vit_atlas.tracking.registry import Registered, register
from vit_atlas.tracking.result import Result, data_description, read_result
from vit_atlas.tracking.stream import (
    EXPERIMENT_VARIABLE,
    find_unfinished,
    log_params,
    log_points,
    read_curves,
    run_name,
    start_run,
)
from vit_atlas.tracking.trainings import log_trainings, split_by_seed
from vit_atlas.tracking.view import NOTE_TAG, add_views

FIRST_PICTURE = "map_scores.png"
"""The picture in the description of a run."""


@dataclass(frozen=True)
class Mirrored:
    """The run that shows the result, and how it came to be."""

    run_id: str
    how: Literal["made", "adopted", "found"]
    """``made`` new, ``adopted`` from a training that streamed its curves, or ``found`` from an earlier mirror."""
    uri: str
    """Where it is, without credentials."""
    version: str | None = None
    """The model's version in the registry; None without a model or where the registry failed."""
    registered: str | None = None
    """The registered model's name; None where there is no version."""


def mirror(champion: bool = False) -> Mirrored | None:
    """Show the result in the current folder as one MLflow run; whatever goes wrong is one warning, and None.

    The run is the one that carries the result's key, else the one in which this folder's finetune streamed its curves,
    else a new one. What it lacks is added and nothing is written twice, so calling again changes nothing. The model
    becomes a version of the registered model (:mod:`vit_atlas.tracking.registry`).

    Args:
        champion: move the registry's alias ``champion`` to this result's model, whatever the numbers say.
    """
    try:
        with _alone():
            return _mirror(champion)
    except Exception as error:
        warn("show this result", error)
        return None


def _mirror(champion: bool) -> Mirrored:
    result = read_result()
    with short_timeouts():
        connection = connect()
        run_id, how = _find_run(connection, result)
    with _completing(connection, run_id), short_timeouts(seconds=60):
        model_id = _fill(connection, run_id, result)
    registered = _register(connection, run_id, model_id, result, champion) if model_id else None
    if registered is None:
        return Mirrored(run_id, how, redact(connection.uri))
    return Mirrored(run_id, how, redact(connection.uri), registered.version, registered.name)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one mirror of this folder work at a time: two would send the model twice."""
    paths.CHECKPOINTS.mkdir(exist_ok=True)
    with FileLock(paths.CHECKPOINTS / "mirror.lock"):
        yield


def _register(connection: Connection, run_id: str, model_id: str, result: Result, champion: bool) -> Registered | None:
    try:
        with short_timeouts():
            registered = register(connection, run_id, model_id, result, champion)
    except Exception as error:
        warn("register this result's model", error)
        return None
    if registered.news:
        sys.stderr.write(f"note: {registered.news}\n")
    return registered


def _find_run(connection: Connection, result: Result) -> tuple[str, Literal["made", "adopted", "found"]]:
    client = connection.client
    same = client.search_runs(
        [connection.experiment_id], f"tags.`{RESULT_TAG}` = '{result.key}'", order_by=["attributes.start_time ASC"]
    )
    streamed = find_unfinished(connection, result.training) if result.training else []
    kept = [run.info.run_id for run in same] or streamed
    for run_id in streamed:
        # The same training, run again, came to the same result: its curves are already in the run that is kept. Or a
        # server was so slow that a run was asked for twice.
        if run_id != kept[0]:
            client.delete_run(run_id)
    if same:
        return str(kept[0]), "found"
    run_id = kept[0] if kept else start_run(connection, result.training or result.key, result.settings)
    # First of all, so that a mirror cut short is taken up again and not doubled.
    client.set_tag(run_id, RESULT_TAG, result.key)
    # One training may come to several results, as when other maps are drawn: each has a name of its own.
    client.update_run(run_id, name=_free_name(connection, run_id, result))
    return run_id, "adopted" if streamed else "made"


def _free_name(connection: Connection, run_id: str, result: Result) -> str:
    """Name the run, with the key's first digits where another result's run has the name: DVC may give it twice."""
    name = run_name(as_parameters(result.settings), result.key)
    # A quote cannot be escaped in MLflow's filters: with one in the name, all runs are looked at.
    filter_string = f"attributes.run_name = '{name}'" if "'" not in name else ""
    same = connection.client.search_runs([connection.experiment_id], filter_string)
    taken = any(run.info.run_name == name and run.info.run_id != run_id for run in same)
    return f"{name}-{result.key[:7]}" if taken else name


def _fill(connection: Connection, run_id: str, result: Result) -> str | None:
    """Add what the run lacks; returns the id of its model."""
    run = connection.client.get_run(run_id)
    _add_tags(connection, run, result)
    missing = {name: value for name, value in as_parameters(result.settings).items() if name not in run.data.params}
    log_params(connection, run_id, missing)
    _add_numbers(connection, run, result)
    _add_data(connection, run, result)
    _add_artifacts(connection, run_id)
    log_trainings(connection, run_id, result.metrics)
    with _as_active(connection):
        return log_model(connection, run, result)


@contextlib.contextmanager
def _completing(connection: Connection, run_id: str) -> Iterator[None]:
    """Let the run be FINISHED only when the block has completed it: RUNNING until then, FAILED where it raises.

    A training that streamed its curves has finished its run already; the end of the training stays the run's end.
    """
    client = connection.client
    with short_timeouts():
        before = client.get_run(run_id).info
        client.update_run(run_id, status="RUNNING")
    try:
        yield
    except BaseException as error:
        # A server that is gone keeps it RUNNING; the block's own error is the one to tell.
        with short_timeouts(), contextlib.suppress(Exception):
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    with short_timeouts():
        client.set_terminated(run_id, "FINISHED", before.end_time if before.status == "FINISHED" else None)


def _add_tags(connection: Connection, run: Any, result: Result) -> None:
    commit = result.commit
    once = {
        "vit_atlas.version": __version__,
        PLACE_TAG: place(),
        TRAINING_TAG: result.training,
        "dvc_experiment": os.environ.get(EXPERIMENT_VARIABLE),
    }
    always = {"dvc_lock": result.lock_hash, "data_hash": result.data_hash, NOTE_TAG: _note(connection, run, result)}
    held = run.data.tags.get("git_dirty")
    if commit is not None and (held is None or (held == "true" and not commit.dirty)):
        # The first commit that is seen, until one holds the result.
        always |= {"git_dirty": str(commit.dirty).lower(), "git_commit": commit.sha}
        always["mlflow.source.git.commit"] = commit.sha
    wanted = {name: value for name, value in once.items() if name not in run.data.tags} | always
    for name, value in wanted.items():
        if value is not None and run.data.tags.get(name) != value:
            connection.client.set_tag(run.info.run_id, name, value)


def _note(connection: Connection, run: Any, result: Result) -> str:
    """The run's description in MLflow: the number first, then the way to page, numbers and pictures."""
    lines = []
    run_id = run.info.run_id
    route = f"#/experiments/{connection.experiment_id}/runs/{run_id}"
    numbers = result.metrics
    accuracy = Estimate.read(numbers, "evaluate/accuracy")
    if accuracy is not None:
        lines.append(f"Test accuracy **{accuracy:.3f}** (95 % interval in brackets).")
    if "evaluate/probe_accuracy" in numbers:
        lines.append(f"Linear probe on the pretrained features: {numbers['evaluate/probe_accuracy']:.3f}.")
    where = {
        "The atlas": "artifacts/report.html",
        "all numbers": "artifacts/metrics",
        "curves and pictures": "model-metrics",
    }
    lines.append(", ".join(f"[{words}]({route}/{tab})" for words, tab in where.items()) + ".")
    lines.append("A mirror of files that DVC holds: `settings/dvc.lock` among the artifacts records them.")
    if TOP[FIRST_PICTURE].is_file():
        lines.append(f"\n![{FIRST_PICTURE}](get-artifact?path={FIRST_PICTURE}&run_uuid={run_id})")
    return "\n".join(lines)


def _add_numbers(connection: Connection, run: Any, result: Result) -> None:
    run_id, held = run.info.run_id, run.data.metrics
    numbers, _ = split_by_seed(result.metrics)
    points = [(name, value, 0) for name, value in shown_numbers(numbers).items() if held.get(name) != value]
    for name, curve in read_curves().items():
        history = connection.client.get_metric_history(run_id, name) if name in held else []
        steps = {point.step for point in history}
        points += [(name, value, step) for step, value in curve.items() if step not in steps]
    log_points(connection, run_id, points)


def _add_data(connection: Connection, run: Any, result: Result) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    held = [item.dataset.digest for item in (run.inputs.dataset_inputs if run.inputs else [])]
    if result.data_hash is None or result.data_hash in held:
        return
    source = f'{{"uri": "data.dvc", "md5": "{result.data_hash}"}}'
    dataset = Dataset("data", result.data_hash, "dvc", source, profile=data_description(result.metrics))
    item = DatasetInput(dataset, [InputTag("mlflow.data.context", "training and test")])
    connection.client.log_inputs(run.info.run_id, [item])


def _add_artifacts(connection: Connection, run_id: str) -> None:
    held: dict[str, set[str]] = {}
    with collect() as artifacts, tempfile.TemporaryDirectory() as scratch:
        for artifact in artifacts:
            if artifact.folder not in held:
                listed = connection.client.list_artifacts(run_id, artifact.folder or None)
                held[artifact.folder] = {item.path.rsplit("/", 1)[-1] for item in listed}
            if artifact.may_change or artifact.name not in held[artifact.folder]:
                named = _named(artifact, Path(scratch))
                connection.client.log_artifact(run_id, str(named), artifact.folder or None)
        keys = log_pictures(connection, run_id, artifacts)
    add_views(connection.client, connection.client.get_experiment(connection.experiment_id), keys)


def _named(artifact: Artifact, scratch: Path) -> Path:
    """The file under the name that it is to have, which MLflow takes from the file itself."""
    if artifact.path.name == artifact.name:
        return artifact.path
    return Path(shutil.copyfile(artifact.path, scratch / artifact.name))


@contextlib.contextmanager
def _as_active(connection: Connection) -> Iterator[None]:
    """Make the connection the one of MLflow's global functions, and leave the process as it was."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(connection.uri)
    try:
        yield
    finally:
        # MLflow writes the address into the environment too, where it would be taken for the user's choice.
        mlflow.set_tracking_uri(before)
