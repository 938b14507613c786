"""More than one machine: results travel through a DVC remote on S3, here a real S3 server on loopback."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import Project

boto3 = pytest.importorskip("boto3", reason="boto3 (of dvc-s3) is not installed")
server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")

BUCKET = "photos"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 server with one empty bucket."""
    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    yield f"http://{host}:{port}"
    s3.stop()


@pytest.fixture
def shared(project: Project, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The finished project, its default DVC remote on the server; credentials come by the environment, as in CI."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=BUCKET)
    project.run("dvc", "remote", "add", "--default", "store", f"s3://{BUCKET}/vit-atlas")
    project.run("dvc", "remote", "modify", "store", "endpointurl", endpoint)
    project.commit("where results are kept")
    return project


def digests(folder: Path) -> dict[str, bytes]:
    """The numbers that people compare, as bytes."""
    return {path.name: path.read_bytes() for path in sorted((folder / "metrics").glob("*.json"))}


def test_push_wipe_clone_pull_and_nothing_is_left_to_do(shared: Project, tmp_path: Path) -> None:
    stages = shared.run("dvc", "stage", "list", "--name-only").stdout.split()
    numbers = digests(shared.folder)
    weights = (shared.folder / "build/model/model.safetensors").read_bytes()
    shared.run("dvc", "push", "--quiet")
    shared.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    shutil.rmtree(shared.folder)  # the cache, the outs, the data: nothing is left but the clone and the remote
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull", "--quiet")
    done = clone.run("dvc", "repro").stdout
    assert "Running stage" not in done
    assert set(re.findall(r"Stage '([\w-]+)' didn't change, skipping", done)) == set(stages)
    assert digests(clone.folder) == numbers
    assert (clone.folder / "build/model/model.safetensors").read_bytes() == weights
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_a_remote_that_does_not_answer_costs_one_message_and_nothing_else(shared: Project, endpoint: str) -> None:
    shared.run("dvc", "remote", "modify", "--local", "store", "endpointurl", "http://127.0.0.1:9")
    done = shared.run("dvc", "push", "build/history.csv", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1, done.stderr
    assert "127.0.0.1:9" in errors[0], errors
    assert shared.changed_stages() == set()
    shared.run("dvc", "remote", "modify", "--local", "store", "endpointurl", endpoint)
    shared.run("dvc", "push", "--quiet", "build/history.csv")


def test_a_result_that_nobody_pushed_is_named(shared: Project, endpoint: str, tmp_path: Path) -> None:
    shared.run("dvc", "remote", "modify", "--local", "store", "url", f"s3://{BUCKET}/empty")
    shared.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "remote", "modify", "--local", "store", "url", f"s3://{BUCKET}/empty")
    done = clone.run("dvc", "pull", "build/history.csv", check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1, done.stderr
    assert "build/history.csv" in done.stderr
