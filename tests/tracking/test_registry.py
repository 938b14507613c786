"""The registered model: a version a result, and a champion that only a clear improvement replaces."""

from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
from typer.testing import CliRunner

from vit_atlas.io.files import write_json
from vit_atlas.tracking import mirror
from vit_atlas.tracking.client import RESULT_TAG
from vit_atlas.tracking.registry import DATA_TAG, decide

from .helpers import Finished, client, runs


def reach(project: Finished, accuracy: float, low: float, photos: str = "p") -> str | None:
    """A new result with this test accuracy on these test photos, mirrored; returns its version."""
    write_json("metrics/evaluate.json", {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": 0.99})
    header = "image_id,split,class_name,sha256\n"
    Path("build/prepared/manifest.csv").write_text(f"{header}a.jpg,train,cat,t\nb.jpg,test,cat,{photos}\n")
    Path("build/model/config.json").write_text("{}")
    project.lock(evaluate={"seed": int(accuracy * 1000)})
    mirrored = mirror()
    assert mirrored is not None
    return mirrored.version


def champion() -> str:
    return str(client().get_model_version_by_alias("vit-atlas", "champion").version)


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


def test_mirroring_again_registers_and_decides_nothing(project: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    reach(project, 0.70, low=0.65)
    assert reach(project, 0.90, low=0.85) == champion() == "2"
    client().set_registered_model_alias("vit-atlas", "champion", "1")
    capsys.readouterr()
    assert reach(project, 0.90, low=0.85) == "2"
    assert champion() == "1", "who moves the alias by hand has the last word"
    assert capsys.readouterr().err == ""
    assert len(client().search_model_versions("name = 'vit-atlas'")) == 2


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


def test_a_version_leads_to_its_run_and_says_what_it_reached(project: Finished) -> None:
    reach(project, 0.70, low=0.65)
    (version,) = client().search_model_versions("name = 'vit-atlas'")
    (run,) = runs()
    assert version.run_id == run.info.run_id
    assert version.tags[RESULT_TAG] == run.data.tags[RESULT_TAG]
    assert "0.700" in version.description
    assert "champion" in client().get_registered_model("vit-atlas").description


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
