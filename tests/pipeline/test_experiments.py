"""Presets and `dvc exp run -S`, with real DVC: neither takes back what the other wrote, comments stay."""

import sys
from pathlib import Path

import pytest

from tests.project import Project, make_project
from vit_atlas.settings import Settings, load_settings


@pytest.fixture(scope="module")
def fresh(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which nothing has run."""
    return make_project(root, tmp_path_factory.mktemp("experiments") / "project")


def use(project: Project, *choices: str) -> None:
    code = "from vit_atlas.cli import app; app()"
    project.run(sys.executable, "-c", code, "use", *choices)


def settings_of(project: Project) -> Settings:
    return load_settings(project.folder / "params.yaml")


def comments_of(project: Project) -> list[str]:
    return [line for line in (project.folder / "params.yaml").read_text().splitlines() if line.strip().startswith("#")]


def test_an_experiment_keeps_what_a_preset_and_the_user_chose(fresh: Project) -> None:
    comments = comments_of(fresh)
    use(fresh, "data=photos", "captioner=trained")
    path = fresh.folder / "params.yaml"
    path.write_text(path.read_text().replace("weight_decay: 0.05", "weight_decay: 0.07"))
    assert settings_of(fresh).finetune.head_init == "probe"
    fresh.run("dvc", "exp", "run", "-S", "data.seed=3", "-S", "finetune.epochs=1", "prepare")
    settings = settings_of(fresh)
    assert (settings.data.seed, settings.finetune.epochs) == (3, 1)
    assert (settings.finetune.head_init, settings.finetune.weight_decay) == ("probe", 0.07)
    assert comments_of(fresh) == comments
    use(fresh, "data=stickers")
    assert settings_of(fresh).finetune.epochs == 1


def test_a_sweep_queues_one_experiment_a_value(fresh: Project) -> None:
    fresh.run("dvc", "exp", "run", "--queue", "-S", "finetune.seed=7,8")
    queued = fresh.run("dvc", "queue", "status").stdout
    assert queued.count("Queued") == 2


def test_a_preset_given_to_dvc_is_told_apart_before_any_work(fresh: Project) -> None:
    done = fresh.run("dvc", "exp", "run", "-S", "data=photos", "--temp", "prepare", check=False)
    assert done.returncode != 0
    assert "a preset is chosen by `vit-atlas use data=photos`" in done.stderr
