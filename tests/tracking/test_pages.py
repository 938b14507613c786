"""What MLflow's pages show: the Image Grid, the table of runs, the descriptions."""

import json

import mlflow
from PIL import Image

from .helpers import Finished, client, files, show


def test_pictures_lie_in_the_image_grid_once_small_and_not_too_many(project: Finished) -> None:
    for number in range(20):
        Image.new("RGB", (1200, 300)).save(f"plots/attention/photo{number:02}.png")
    run_id = show().run_id
    first = [name for name in files(run_id) if name.startswith("images/")]
    show()
    assert [name for name in files(run_id) if name.startswith("images/")] == first
    pictures = [name for name in first if name.endswith(".png")]
    keys = [name.removeprefix("images/").partition("+step+0")[0] for name in pictures]
    assert {"atlas pictures~confusion", "atlas pictures~worst_mistakes", "atlas pictures~attention cat"} <= set(keys)
    assert len(keys) == len(set(keys)) == len(first) / 2 == 12
    (photo,) = [name for name in pictures if "photo01" in name]
    with Image.open(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=photo)) as picture:
        assert picture.size == (800, 200)
    assert client().get_run(run_id).data.tags["mlflow.loggedImages"] == "True"


def test_the_description_leads_to_page_numbers_and_picture(project: Finished) -> None:
    Image.new("RGB", (8, 8)).save("plots/attention/scores.png")
    run = client().get_run(show().run_id)
    note, route = run.data.tags["mlflow.note.content"], f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert f"]({route}/artifacts/report.html)" in note
    assert f"]({route}/model-metrics)" in note
    assert f"](get-artifact?path=map_scores.png&run_uuid={run.info.run_id})" in note


def test_the_experiments_description_leads_to_numbers_and_pictures_of_all_runs(project: Finished) -> None:
    show()
    experiment = client().get_experiment_by_name("vit-atlas")
    columns = json.loads(experiment.tags["mlflow.sharedViewState.atlas"])["selectedColumns"]
    assert {"metrics.`accuracy`", "tags.`dvc_experiment`"} <= set(columns)
    pictures = json.loads(experiment.tags["mlflow.sharedViewState.atlas-pictures"])
    table = pictures["compareRunCharts"][0]
    assert {"atlas pictures/confusion", "atlas pictures/attention cat"} <= set(table["imageKeys"])
    assert not table["deleted"]
    route = f"(#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=atlas"
    note = experiment.tags["mlflow.note.content"]
    assert f"{route})" in note
    assert f"{route}-pictures&compareRunsMode=CHART)" in note
    client().set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "mine")
    show()
    assert client().get_experiment_by_name("vit-atlas").tags["mlflow.note.content"] == "mine"
