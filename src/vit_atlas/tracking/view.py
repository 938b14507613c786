"""MLflow's pages of all runs, opened on what people compare: the numbers as columns, and the pictures side by side.

MLflow keeps a view that somebody shares as a tag of the experiment, and its address names the tag. There is no such
setting for the page that opens first, so the experiment's description leads there.
"""

import json
from collections.abc import Sequence
from typing import Any

from vit_atlas.tracking.grid import GROUP
from vit_atlas.tracking.names import COMPARED, FIRST

NUMBERS, PICTURES = "atlas", "atlas-pictures"
TAG = "mlflow.sharedViewState."
NOTE_TAG = "mlflow.note.content"
COLUMNS = (
    "metrics.`accuracy`",
    *(f"metrics.`{FIRST}/{name}`" for name in COMPARED if name != "accuracy"),
    "params.`model.name`",
    "tags.`dvc_experiment`",
)


def routes(experiment_id: str) -> tuple[str, str]:
    """Where numbers and pictures of all runs are, as what follows the address of MLflow's pages."""
    route = f"#/experiments/{experiment_id}/runs?viewStateShareKey="
    return f"{route}{NUMBERS}", f"{route}{PICTURES}&compareRunsMode=CHART"


def add_views(client: Any, experiment: Any, keys: Sequence[str]) -> None:
    """Give an experiment the views, and a description that leads there, unless it has one already.

    Args:
        client: an ``mlflow.MlflowClient``.
        experiment: an ``mlflow.entities.Experiment``.
        keys: of the pictures to show.
    """
    numbers, pictures = routes(experiment.experiment_id)
    views = {NUMBERS: {"selectedColumns": COLUMNS}, PICTURES: _grid(keys)}
    wanted = {f"{TAG}{name}": json.dumps(view) for name, view in views.items()}
    if NOTE_TAG not in experiment.tags:
        wanted[NOTE_TAG] = f"One run a result: [their numbers]({numbers}), [their pictures side by side]({pictures})."
    for name, value in wanted.items():
        if experiment.tags.get(name) != value:
            client.set_experiment_tag(experiment.experiment_id, name, value)


def _grid(keys: Sequence[str]) -> dict[str, Any]:
    """One table of pictures (rows) and runs (columns), in the place of one chart a picture and one a number.

    Charts that MLflow would make by itself are marked as deleted or do not fit the search.
    """
    section = {"uuid": "atlas", "name": GROUP, "display": True, "isReordered": False, "columns": 1, "cardHeight": 900}
    card = {"type": "IMAGE", "metricSectionId": "atlas", "isGenerated": False, "step": 0}
    table = card | {"uuid": "all", "deleted": False, "showRunParams": False, "imageKeys": list(keys)}
    single = [card | {"uuid": str(place), "deleted": True, "imageKeys": [key]} for place, key in enumerate(keys)]
    return {
        "compareRunCharts": [table, *single],
        "compareRunSections": [section],
        "chartsSearchFilter": "Image grid",
    }
