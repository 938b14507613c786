"""The registered model: a version a result, and a champion that only a clear improvement replaces."""

from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.comparison.conftest import predictions
from vit_atlas.io.files import write_json
from vit_atlas.tracking import Mirrored, mirror
from vit_atlas.tracking.client import RESULT_TAG
from vit_atlas.tracking.registry import DATA_TAG, decide, registered_name

from .helpers import Finished, client, runs


def reach(project: Finished, accuracy: float, low: float, photos: str = "p") -> str | None:
    """A new result with this test accuracy on these test photos, mirrored; returns its version."""
    write_json("metrics/evaluate.json", {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": 0.99})
    header = "image_id,split,class_name,sha256\n"
    Path("build/prepared/manifest.csv").write_text(f"{header}a.jpg,train,cat,t\nb.jpg,test,cat,{photos}\n")
    Path("build/model/config.json").write_text("{}")
    project.lock(finetune={"seed": int(accuracy * 1000)})
    mirrored = mirror()
    assert mirrored is not None
    return mirrored.version


NAME = registered_name(("a", "b"))
"""The registered model of the project's classes."""


def champion(name: str = NAME) -> str:
    return str(client().get_model_version_by_alias(name, "champion").version)


def test_the_champion_changes_only_for_more_than_the_interval(
    project: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reach(project, 0.70, low=0.65) == "1"
    assert "there was none" in capsys.readouterr().err
    assert reach(project, 0.74, low=0.69) == "2"
    assert champion() == "1", "0.69 is not above 0.70"
    said = capsys.readouterr().err
    assert "not better beyond chance" in said
    assert "--champion" in said
    assert reach(project, 0.78, low=0.71) == "3"
    assert champion() == "3"


def measured(project: Finished, right: np.ndarray, mass: float) -> str | None:
    """A new result by photo; by its interval alone none of these is better than another."""
    table = predictions(right)
    table.to_csv("build/predictions.csv", index=False)
    Path("build/attention").mkdir(exist_ok=True)
    table.assign(method="relevance", mass=mass + 0.05 * (np.arange(len(right)) % 2)).to_csv(
        "build/attention/scores.csv", index=False
    )
    return reach(project, float(right.mean()), low=0.1)


def test_the_champion_is_chosen_photo_by_photo_and_must_not_look_worse(
    project: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = np.arange(60)
    assert measured(project, numbers % 3 != 0, mass=0.8) == "1"
    assert measured(project, (numbers % 3 != 1) | (numbers == 1), mass=0.8) == "2"
    assert champion() == "1", "other photos are right, hardly more of them"
    assert measured(project, numbers % 12 != 0, mass=0.1) == "3"
    assert champion() == "1"
    assert "looks worse by relevance.mass" in capsys.readouterr().err
    assert measured(project, (numbers % 3 != 0) | (numbers % 2 == 0), mass=0.8) == "4"
    assert champion() == "4"
    assert "paired by photo, and no map score is worse" in capsys.readouterr().err


def test_mirroring_again_registers_and_decides_nothing(project: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    reach(project, 0.70, low=0.65)
    assert reach(project, 0.90, low=0.85) == champion() == "2"
    client().set_registered_model_alias(NAME, "champion", "1")
    capsys.readouterr()
    assert reach(project, 0.90, low=0.85) == "2"
    assert champion() == "1", "who moves the alias by hand has the last word"
    assert capsys.readouterr().err == ""
    assert len(client().search_model_versions(f"name = '{NAME}'")) == 2


def test_other_test_photos_cannot_be_compared_but_a_hand_can_decide(
    project: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    from vit_atlas.cli import commands

    reach(project, 0.70, low=0.65)
    assert reach(project, 0.99, low=0.98, photos="others") == "2"
    assert champion() == "1"
    assert "other test photos" in capsys.readouterr().err
    assert CliRunner().invoke(commands, ["track", "--champion"]).exit_code == 0
    assert champion() == "2"


def test_other_classes_have_a_champion_of_their_own(project: Finished) -> None:
    """Own photos after the sample: the sample's champion would call a cat a bird."""
    assert reach(project, 0.90, low=0.85) == champion() == "1"
    write_json("build/prepared/classes.json", ["cat", "dog", "r\u00e4v/:#"])
    assert reach(project, 0.50, low=0.40, photos="mine") == "1"
    mine = registered_name(("cat", "dog", "r\u00e4v/:#"))
    assert mine != NAME
    assert champion(mine) == "1"
    assert "cat, dog, r\u00e4v/:#" in client().get_registered_model(mine).description
    write_json("build/prepared/classes.json", ["a", "b"])
    assert reach(project, 0.91, low=0.86) == "2"
    assert champion() == "1"


def test_the_same_model_is_stored_and_registered_once(project: Finished) -> None:
    """An experiment that draws other maps changes no training."""
    assert reach(project, 0.70, low=0.65) == "1"
    project.lock(finetune={"seed": 700}, attention={"layer": 3})
    second = mirror()
    assert second is not None
    assert (second.how, second.version) == ("made", "1")
    (model,) = client().search_logged_models([run.info.experiment_id for run in runs()][:1])
    assert len(runs()) == 2
    assert [run.outputs.model_outputs[0].model_id for run in runs()] == [model.model_id] * 2
    assert mirror() == Mirrored(second.run_id, "found", second.uri, "1", NAME)
    manifest = Path("build/prepared/manifest.csv")
    manifest.write_text(manifest.read_text().replace("cat,p", "cat,others"))
    project.lock(finetune={"seed": 700}, evaluate={"seed": 1})
    third = mirror()
    assert third is not None
    assert third.version == "2", "measured on other photos, its card holds other numbers"


def test_a_version_leads_to_its_run_and_says_what_it_reached(project: Finished) -> None:
    reach(project, 0.70, low=0.65)
    (version,) = client().search_model_versions(f"name = '{NAME}'")
    (run,) = runs()
    assert version.run_id == run.info.run_id
    assert version.tags[RESULT_TAG] == run.data.tags[RESULT_TAG]
    assert "0.700" in version.description
    assert "champion" in client().get_registered_model(NAME).description


def test_projects_on_one_server_may_have_models_of_their_own(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIT_ATLAS_REGISTERED_MODEL", "breeds")
    reach(project, 0.70, low=0.65)
    assert client().get_model_version_by_alias("breeds", "champion").version == 1


def test_a_registry_that_fails_costs_one_warning_and_is_made_up_for(
    project: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise mlflow.MlflowException("no registry here")

    with monkeypatch.context() as patch:
        # Cut short between the version and the alias, the worst moment.
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuse)
        assert reach(project, 0.70, low=0.65) is None
    said = capsys.readouterr().err
    assert said.count("warning:") == said.count("\n") == 1
    assert [run.info.status for run in runs()] == ["FINISHED"]
    assert reach(project, 0.70, low=0.65) == champion() == "1"


def version(number: str, **tags: str) -> SimpleNamespace:
    return SimpleNamespace(version=number, tags=tags)


@pytest.mark.parametrize(
    ("tags", "champion", "moves"),
    [
        ({"accuracy_low": "0.7", DATA_TAG: "d"}, None, True),
        ({"accuracy_low": "0.7", DATA_TAG: "d"}, version("1", accuracy="0.69", **{DATA_TAG: "d"}), True),
        ({"accuracy_low": "0.7", DATA_TAG: "d"}, version("1", accuracy="0.7", **{DATA_TAG: "d"}), False),
        ({"accuracy_low": "0.7", DATA_TAG: "d"}, version("1", accuracy="0.1", **{DATA_TAG: "e"}), False),
        ({"accuracy_low": "0.7", RESULT_TAG: "r"}, version("1", accuracy="0.8", **{RESULT_TAG: "r"}), True),
        ({"accuracy_low": "0.7"}, version("1", accuracy="0.1"), False),
        ({}, version("1", accuracy="0.1", **{DATA_TAG: "d"}), False),
        ({"accuracy_low": "0.7", DATA_TAG: "d"}, version("1"), False),
    ],
)
def test_the_rule(tags: dict[str, str], champion: SimpleNamespace | None, moves: bool) -> None:
    decision, sentence = decide("m", "2", tags, champion)
    assert decision is moves
    assert moves or "`vit-atlas track --champion`" in sentence
