"""A nested run for every training of a result that consists of several: its numbers, and how it validated."""

import re
from collections.abc import Mapping

from vit_atlas.paths import HISTORY, REPEATS
from vit_atlas.tracking.client import Connection
from vit_atlas.tracking.names import shown_numbers
from vit_atlas.tracking.stream import log_points, read_curves

PARENT_TAG = "mlflow.parentRunId"
"""MLflow's own: it shows a run that has it below its parent."""
SEED_TAG = "vit_atlas.seed"

_BY_SEED = re.compile(r"(evaluate|attention|caption)/by_seed/(\d+)/(.+)")


def split_by_seed(numbers: Mapping[str, float]) -> tuple[dict[str, float], dict[tuple[str, int], dict[str, float]]]:
    """Part a result's numbers from those of its single trainings.

    Args:
        numbers: as ``file/key``.

    Returns:
        The result's, and for what was trained (``model`` or ``captioner``) and its seed the numbers as ``file/key``.
    """
    rest: dict[str, float] = {}
    trainings: dict[tuple[str, int], dict[str, float]] = {}
    for name, value in numbers.items():
        found = _BY_SEED.fullmatch(name)
        if found is None:
            rest[name] = value
            continue
        file, seed, key = found.groups()
        trained = ("captioner" if file == "caption" else "model", int(seed))
        numbers_of = trainings.setdefault(trained, {})
        numbers_of[f"{file}/{key}"] = value
        if (file, key) == ("evaluate", "accuracy"):
            # Alone as well, as the parent has it, so that MLflow compares the two.
            numbers_of["accuracy"] = value
    return rest, trainings


def log_trainings(connection: Connection, run_id: str, numbers: Mapping[str, float]) -> None:
    """Give the run ``run_id`` one nested run a training, and each what it lacks; without repeats there are none."""
    client = connection.client
    _, trainings = split_by_seed(numbers)
    if not trainings:
        return
    nested = client.search_runs([connection.experiment_id], f"tags.`{PARENT_TAG}` = '{run_id}'")
    held = {run.info.run_name: run for run in nested}
    for (what, seed), found in trainings.items():
        name = f"{what}, seed {seed}"
        run = held.get(name) or client.create_run(
            connection.experiment_id, run_name=name, tags={PARENT_TAG: run_id, SEED_TAG: str(seed)}
        )
        points = [(key, value, 0) for key, value in shown_numbers(found).items() if run.data.metrics.get(key) != value]
        for key, curve in (_validation(seed) if what == "model" else {}).items():
            points += [(key, value, step) for step, value in curve.items() if key not in run.data.metrics]
        log_points(connection, run.info.run_id, points)
        if run.info.status != "FINISHED":
            client.set_terminated(run.info.run_id, "FINISHED")


def _validation(seed: int) -> dict[str, dict[int, float]]:
    repeat = REPEATS / str(seed) / "validation.csv"
    return read_curves(repeat if repeat.is_file() else HISTORY)
