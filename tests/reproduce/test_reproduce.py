"""`vit-atlas reproduce`, on real commits with real DVC."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.project import Project, make_project
from tests.reproduce.conftest import snapshot
from vit_atlas.reproduce import reproduce


def again(project: Project, *options: str) -> tuple[int, dict, str]:
    """Run the command with --json; gives its exit code, its answer (empty without one), and its stderr."""
    done = project.run("vit-atlas", "reproduce", *options, "--json", check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def refused(project: Project, *options: str) -> str:
    """Run the command where it cannot run; gives the error, which must be one line."""
    code, answer, printed = again(project, *options)
    assert code == 2
    assert answer == {}
    assert "Traceback" not in printed
    errors = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, printed
    return errors[0]


@pytest.fixture(autouse=True)
def workspaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary workspaces are made."""
    folder = tmp_path / "workspaces"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_good_commit_is_exact_and_the_users_tree_stays_as_it_is(toy: Project, workspaces: Path) -> None:
    (toy.folder / "src/vit_atlas/__init__.py").write_text("CODE = 'not committed'\n")
    before = snapshot(toy.folder)
    done = toy.run("vit-atlas", "reproduce")
    # A stage out of the run-cache would be called cached; the toy's weights hold the code that was imported.
    assert [
        line for line in done.stderr.splitlines() + done.stdout.splitlines() if line.startswith("Running stage")
    ] == [
        "Running stage 'train':",
        "Running stage 'evaluate':",
    ]
    assert done.stdout.splitlines()[-1] == "exact: 3 outs are byte for byte what dvc.lock records"
    assert "note: your uncommitted changes are no part of HEAD" in done.stdout
    assert "note: other versions than in the revision's requirements.lock (in brackets): dvc 3." in done.stdout
    assert "pyyaml" not in done.stdout
    assert snapshot(toy.folder) == before
    assert list(workspaces.iterdir()) == []


def test_another_processor_is_within_tolerance_unless_bytes_are_asked_for(
    toy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISE", "~")
    code, answer, _ = again(toy, "--exact")
    assert code == 1
    assert answer["verdict"] == "within tolerance"
    assert {row["out"]: row["verdict"] for row in answer["outs"]} == {
        "build/model": "differs",
        "build/predictions.csv": "differs",
        "metrics/evaluate.json": "differs",
    }
    moved = {row["metric"]: row for row in answer["metrics"]}
    assert moved["accuracy"]["committed"] == 0.7
    assert moved["accuracy"]["now"] == 0.71
    assert moved["accuracy"]["tolerance"] == "in [0.65, 0.75]"
    assert moved["accuracy"]["verdict"] == "within"
    assert moved["winner"]["verdict"] == "equal"


def test_a_number_outside_its_interval_differs(toy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISE", "~" * 6)
    done = toy.run("vit-atlas", "reproduce", check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("differs: metrics/evaluate.json accuracy")


def test_a_tampered_lock_differs(toy: Project) -> None:
    lock = yaml.safe_load((toy.folder / "dvc.lock").read_text())
    lock["stages"]["evaluate"]["outs"][1]["md5"] = "0" * 32
    (toy.folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    toy.commit("tampered")
    code, answer, _ = again(toy)
    assert code == 1
    assert answer["verdict"] == "differs"
    assert answer["against"] == ["metrics/evaluate.json in git is not the one that dvc.lock records"]
    assert again(toy, "HEAD~1")[0] == 0


def test_a_stage_alone_is_judged_by_its_bytes(toy: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISE", "~")
    code, answer, _ = again(toy, "--stage", "train", "--keep", str(tmp_path / "kept"))
    assert code == 1
    assert answer["against"] == ["train build/model"]
    assert [row["stage"] for row in answer["outs"]] == ["train"]
    assert (tmp_path / "kept/build/model/weights").read_text() == "1 2 3\nfirst~"
    assert "not empty" in refused(toy, "--keep", str(tmp_path / "kept"))


def test_a_lock_older_than_its_code_is_told(toy: Project) -> None:
    (toy.folder / "stages/evaluate.py").open("a").write("# touched\n")
    toy.commit("changed without a run")
    code, answer, _ = again(toy)
    assert code == 0
    assert any("stages/evaluate.py of stage evaluate changed after" in note for note in answer["notes"])


def test_what_cannot_be_run(toy: Project, tmp_path: Path) -> None:
    assert "v9 is no commit, branch, tag or DVC experiment of this repository" in refused(toy, "v9")
    assert "has no stage fly: it has train, evaluate" in refused(toy, "--stage", "fly")
    outside = Project(tmp_path)
    assert "is in no git repository" in refused(outside)
    toy.run("git", "rm", "--quiet", "dvc.lock")
    toy.commit("no lock")
    assert "HEAD has no dvc.lock" in refused(toy)


def test_a_stage_that_fails(toy: Project, workspaces: Path) -> None:
    (toy.folder / "stages/train.py").write_text("raise SystemExit('no GPU today')\n")
    toy.commit("broken")
    done = toy.run("vit-atlas", "reproduce", check=False)
    assert done.returncode == 2
    assert "no GPU today" in done.stderr
    assert "`dvc repro` of HEAD failed in the workspace" in done.stderr
    assert list(workspaces.iterdir()) == []


def test_data_comes_from_the_remote_when_the_cache_is_gone(toy: Project, tmp_path: Path) -> None:
    toy.run("dvc", "remote", "add", "--default", "store", "../store")
    toy.run("dvc", "config", "--local", "remote.store.verify", "true")
    toy.commit("remote")
    toy.run("dvc", "push", "--quiet")
    toy.run("rm", "-r", ".dvc/cache", "data")
    code, answer, printed = again(toy, "--stage", "train", "--keep", str(tmp_path / "kept"))
    assert code == 0, printed
    assert answer["data"]["from"] == "the DVC remote"
    assert "verify" not in (tmp_path / "kept/.dvc/config.local").read_text(), "the remote's settings are taken away"


def test_data_that_is_nowhere(toy: Project, workspaces: Path) -> None:
    toy.run("rm", "-r", ".dvc/cache")
    assert "is not in the local DVC cache, no DVC remote is configured" in refused(toy)
    toy.run("dvc", "remote", "add", "--default", "store", "../nothing-there")
    assert "is not in the local DVC cache, not in the DVC remote (store)" in refused(toy)
    assert list(workspaces.iterdir()) == []


def test_data_that_is_damaged(toy: Project) -> None:
    (damaged,) = [
        path for path in (toy.folder / ".dvc/cache").rglob("*") if path.is_file() and path.read_bytes() == b"1 2 3\n"
    ]
    damaged.chmod(0o644)
    damaged.write_text("1 2 4\n")
    damaged.chmod(0o444)
    assert "the data in hand is not the data of HEAD: data has another hash" in refused(toy)


def test_the_sample_is_made_anew_by_the_revisions_code(toy: Project) -> None:
    maker = (
        "import pathlib, sys\n"
        "def app():\n"
        "    assert sys.argv[1:3] == ['data', 'stickers']\n"
        "    assert 'secret' not in pathlib.Path('.dvc/config.local').read_text()\n"
        "    pathlib.Path('data').mkdir(exist_ok=True)\n"
        "    pathlib.Path('data/numbers.txt').write_text('1 2 3\\n')\n"
    )
    (toy.folder / "src/vit_atlas/cli.py").write_text(maker)
    toy.commit("makes its own data")
    toy.run("rm", "-r", ".dvc/cache")
    toy.run("dvc", "remote", "add", "--local", "secret", "../nothing-there")
    result = reproduce("HEAD", toy.folder, ["train"])
    assert result.source == "made anew by `vit-atlas data stickers`"
    assert result.verdict == "exact"


def test_another_sample_than_the_revisions_data_is_refused(toy: Project) -> None:
    maker = (
        "import pathlib\ndef app():\n    pathlib.Path('data').mkdir()\n    pathlib.Path('data/numbers.txt').touch()\n"
    )
    (toy.folder / "src/vit_atlas/cli.py").write_text(maker)
    toy.commit("makes other data")
    toy.run("rm", "-r", ".dvc/cache")
    assert "it is not the sample, which could be made anew" in refused(toy)


def test_a_cancelled_job_leaves_nothing(toy: Project, workspaces: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    slow = f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(90)\n"
    (toy.folder / "stages/train.py").write_text(slow)
    toy.commit("slow")
    command = [str(Path(sys.executable).parent / "vit-atlas"), "reproduce"]
    process = subprocess.Popen(command, cwd=toy.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not pid.is_file() or not pid.read_text():
        assert time.monotonic() < deadline, "the stage never began"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert list(workspaces.iterdir()) == []
    while _alive(int(pid.read_text())):
        assert time.monotonic() < deadline, "the stage lives on"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_this_repositorys_own_first_stage(root: Path, tmp_path: Path) -> None:
    project = make_project(root, tmp_path / "tiny")
    project.run("dvc", "repro", "--quiet", "prepare")
    project.commit("prepared")
    code, answer, printed = again(project, "--stage", "prepare")
    assert code == 0, printed
    assert answer["verdict"] == "exact"
    assert [(row["stage"], row["out"]) for row in answer["outs"]] == [("prepare", "build/prepared")]
