"""Which commit a result belongs to, and whether that commit holds all of it."""

import subprocess
from pathlib import Path

import pytest

from vit_atlas.errors import AtlasError
from vit_atlas.git import changed_files, git
from vit_atlas.io.plain import canonical_json, flatten
from vit_atlas.provenance import read_commit, read_numbers, read_yaml

FILES = ("src/vit_atlas/a.py", "stages/a.py", "params.yaml", "metrics/a.json", "plots/a.csv", "dvc.lock", "README.md")


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file of every kind, all committed."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}")
    own = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for command in (("init", "--quiet"), ("add", "--all"), (*own, "commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def test_a_committed_result_is_clean(committed: Path) -> None:
    commit = read_commit()
    assert commit is not None
    assert len(commit.sha) == 40
    assert not commit.dirty


@pytest.mark.parametrize("name", [*FILES[:-1], "src/vit_atlas/new.py", "metrics/new.json"])
def test_a_change_of_code_settings_or_numbers_makes_it_dirty(committed: Path, name: str) -> None:
    Path(name).write_text("changed")
    commit = read_commit()
    assert commit is not None
    assert commit.dirty


def test_what_is_no_part_of_a_result_does_not(committed: Path) -> None:
    Path("README.md").write_text("changed")
    Path("notes.txt").touch()
    commit = read_commit()
    assert commit is not None
    assert not commit.dirty


def test_yaml_is_read_as_dvc_wrote_it(tmp_path: Path) -> None:
    """By YAML 1.2: a learning rate without a dot is a number, `off` a word."""
    (tmp_path / "dvc.lock").write_text("finetune.learning_rate: 2e-05\nfinetune.compile: off\n")
    assert read_yaml(tmp_path / "dvc.lock") == {"finetune.learning_rate": 2e-05, "finetune.compile": "off"}


def test_the_commit_of_another_folder(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("params.yaml").write_text("changed")
    (committed / "build").mkdir()
    monkeypatch.chdir("build")
    commit = read_commit(committed)
    assert commit is not None
    assert commit.dirty


def test_outside_git_and_before_the_first_commit_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert read_commit() is None
    git(tmp_path, "init", "--quiet")
    assert read_commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_commit() is None
    with pytest.raises(AtlasError, match="git is not installed"):
        git(tmp_path, "status")


def test_a_hooks_variables_point_git_nowhere_else(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    Path("params.yaml").write_text("changed")
    assert changed_files(Path(), ".") == ["params.yaml"]


def test_numbers_are_every_finite_number_of_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    Path("metrics/evaluate.json").write_text(
        '{"accuracy": 0.5, "a": {"b,c": 2, "d": null}, "e": true, "f": NaN, "g": {}}'
    )
    assert read_numbers() == {"accuracy": 0.5, "evaluate/accuracy": 0.5, "evaluate/a/b_c": 2.0}


def test_equal_content_has_one_json_text_and_flat_names() -> None:
    assert (
        canonical_json({"b": (1, 2), "a": None}) == canonical_json({"a": None, "b": [1, 2]}) == '{"a":null,"b":[1,2]}'
    )
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
