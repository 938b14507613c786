"""Where a commit's tables come from: DVC's cache, a remote, or, where neither has them, git's own numbers."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from vit_atlas.cli import commands
from vit_atlas.comparison.compare import compare
from vit_atlas.comparison.results import Result
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import write_json

from .conftest import predictions


def git(*arguments: str) -> None:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def store(content: bytes, suffix: str = "") -> str:
    digest = hashlib.md5(content).hexdigest() + suffix
    path = Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest


def commit_result(right: np.ndarray, message: str, prepared: str = "p.dir") -> None:
    """Commit what git holds of a result, and put what it does not hold into DVC's cache."""
    table = predictions(right)
    scores = table[["image_id"]].assign(method="relevance", mass=right * 0.5)
    listed = [{"md5": store(scores.to_csv(index=False).encode()), "relpath": "scores.csv"}]
    outs = {
        "build/predictions.csv": store(table.to_csv(index=False).encode()),
        "build/attention": store(json.dumps(listed).encode(), ".dir"),
        "build/prepared": prepared,
    }
    stages = {
        f"s{place}": {"cmd": "x", "outs": [{"path": path, "hash": "md5", "md5": md5}]}
        for place, (path, md5) in enumerate(outs.items())
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    share = float(right.mean())
    write_json("metrics/evaluate.json", {"accuracy": share, "accuracy_low": share - 0.1, "accuracy_high": share + 0.1})
    Path("plots/evaluate").mkdir(parents=True, exist_ok=True)
    confusion = table[["class_name", "predicted_name"]].set_axis(["actual", "predicted"], axis=1)
    confusion.to_csv("plots/evaluate/confusion.csv", index=False)
    git("add", "dvc.lock", "metrics", "plots")
    git("commit", "-qm", message)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    Path(".dvc").mkdir()
    Path(".dvc/config").touch()
    Path("dvc.yaml").touch()
    git("add", "dvc.yaml")
    git("commit", "-qm", "no result")
    commit_result(np.arange(60) % 2 == 0, "half")
    commit_result(np.arange(60) % 10 != 0, "good")
    return tmp_path


def verdicts(old: str, new: str) -> dict[str, str]:
    return {row.name: row.verdict for row in compare(old, new).rows}


def test_tables_of_both_commits_come_from_the_cache(project: Path) -> None:
    found = {row.name: row for row in compare("HEAD~1", "HEAD").rows}
    assert {found[name].photos for name in ("accuracy", "relevance.mass")} == {60}
    assert {found[name].verdict for name in ("accuracy", "relevance.mass")} == {"better"}
    assert verdicts("HEAD", "HEAD~1")["accuracy"] == "worse"
    assert not Path("build").exists(), "nothing is left in the folder"


def test_an_experiment_has_a_name(project: Path) -> None:
    git("update-ref", "refs/exps/aa/bbbb/other-layer", "HEAD~1")
    assert verdicts("other-layer", "HEAD")["accuracy"] == "better"


def test_without_cache_it_goes_on_with_what_git_holds(project: Path) -> None:
    shutil.rmtree(".dvc/cache")
    found = compare("HEAD~1", "HEAD")
    by_name = {row.name: row for row in found.rows}
    assert by_name["accuracy"].photos == 60, "the same photos were prepared: the table in git keeps their order"
    assert by_name["accuracy"].verdict == "better"
    (missing, *_) = [note for note in found.notes if "HEAD~1" in note]
    assert "neither DVC's cache nor a remote has build/predictions.csv" in missing
    assert "\n" not in missing


def test_other_photos_without_cache_are_compared_by_their_intervals(project: Path) -> None:
    commit_result(np.arange(60) % 2 == 0, "other photos", prepared="q.dir")
    shutil.rmtree(".dvc/cache")
    (row,) = compare("HEAD~1", "HEAD").rows
    assert (row.name, row.photos, row.verdict) == ("accuracy", None, "worse")
    assert row.difference.high - row.difference.low == pytest.approx(0.2 * 2**0.5)


def test_a_remote_is_asked(project: Path) -> None:
    shutil.move(".dvc/cache", "store")
    Path(".dvc/config").write_text("['remote \"r\"']\n    url = ../store\n[core]\n    remote = r\n")
    git("add", "-f", ".dvc/config")
    Path("dvc.yaml").write_text(
        "stages:\n  s0: {cmd: x, outs: [build/predictions.csv]}\n  s1: {cmd: x, outs: [build/attention]}\n"
    )
    git("add", "dvc.yaml")
    git("commit", "-qm", "with a remote")
    found = {row.name: row for row in compare("HEAD", "HEAD").rows}
    assert found["accuracy"].photos == 60
    assert "ece" in found, "confidences are not in git"
    assert not Path(".dvc/cache/files").exists()


def test_a_damaged_cache_is_a_missing_one(project: Path) -> None:
    for path in Path(".dvc/cache").rglob("*.dir"):
        path.write_text("{")
    assert "relevance.mass" not in verdicts("HEAD~1", "HEAD")


def test_settings_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("finetune:\n  learning_rate: 2e-05\n  compile: off\n")
    result = Result("here", tmp_path)
    assert (result.setting("finetune", "learning_rate"), result.setting("finetune", "compile")) == (2e-05, "off")


def test_what_is_no_result_is_one_sentence(project: Path) -> None:
    with pytest.raises(AtlasError, match=r"HEAD~2 \(.*\) holds no result"):
        compare("HEAD~2", "HEAD")
    for name in ("nowhere", "--all", ""):
        with pytest.raises(AtlasError, match="is no commit, branch, tag or DVC experiment"):
            compare(name, "HEAD")
    done = CliRunner().invoke(commands, ["compare", "nowhere"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    with pytest.raises(AtlasError, match=r"none\.npz does not exist"):
        compare("none.npz", "HEAD")
