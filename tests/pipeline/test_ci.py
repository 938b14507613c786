"""What the GPU runner does, on a CPU: its scripts, with a `gh` that records and a GitLab that answers on loopback."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest

from tests.project import Project

GH = """\
#!/usr/bin/env bash
# Remembers comments as files, and every call in $GH_STORE/calls.
set -euo pipefail
printf '%s\\n' "$*" >> "$GH_STORE/calls"
case "$1 $2" in
"api --paginate") [ ! -e "$GH_STORE/comment" ] || echo 17 ;;
"api --silent") last="${*: -1}"; cp "${last#body=@}" "$GH_STORE/comment" ;;
"pr comment") cp "${*: -1}" "$GH_STORE/comment" ;;
esac
"""


@pytest.fixture
def change(project: Project, root: Path, tmp_path: Path) -> Project:
    """A clone with a branch that changes a setting, and a remote that holds main's results."""
    shutil.copytree(root / "scripts", project.folder / "scripts")
    project.commit("scripts")
    project.run("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    project.run("dvc", "push", "--quiet", "--run-cache")
    project.run("git", "clone", "--quiet", ".", str(tmp_path / "runner"))
    shutil.copytree(project.folder / "tiny-vit", tmp_path / "runner" / "tiny-vit")
    clone = Project(tmp_path / "runner")
    clone.run("git", "checkout", "--quiet", "-b", "reference")
    clone.set("evaluate", reference_accuracy=0.9)
    clone.commit("a reference")
    return clone


def remote(project: Project, tmp_path: Path, action: str) -> None:
    """Pull or push as the job does: the address in a variable, and unset variables empty."""
    variables = (f"DVC_REMOTE_URL={tmp_path / 'store'}", "AWS_ENDPOINT_URL=", "AWS_DEFAULT_REGION=")
    project.run("env", *variables, "scripts/ci/remote.sh", action)


def test_the_steps_of_the_gpu_job(change: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote(change, tmp_path, "pull")
    assert set(change.repro()) == {"evaluate", "metrics", "report"}, "what main has was pulled and not made again"
    before = stored(tmp_path)
    remote(change, tmp_path, "push")
    assert stored(tmp_path) > before
    change.run("scripts/ci/comment.sh", "origin/main", "atlas")

    comment = (change.folder / "atlas/comment.md").read_text()
    assert "| metrics/evaluate.json | distance_to_reference" in comment
    assert "No number changed" not in comment
    assert "No verdict: error: the two results have " in comment, "so few test photos decide nothing"
    Project(tmp_path / "project").run("scripts/ci/comment.sh", "main", "atlas")
    assert "No number changed" in (tmp_path / "project/atlas/comment.md").read_text()
    pictures = sorted(path.name for path in (change.folder / "atlas/pictures").iterdir())
    assert len(pictures) == len(list((change.folder / "plots/attention").glob("*.png"))) > 2
    for name in pictures:
        assert f"](pictures/{name})" in comment

    branch = publish_twice(change, tmp_path, monkeypatch)
    shown = (tmp_path / "gh/comment").read_text()
    server = f"file://{tmp_path}/owner/repo"
    assert f"]({server}/blob/{branch}/{pictures[0]}?raw=true)" in shown
    assert "](pictures/" not in shown
    assert shown.startswith("<!-- vit-atlas -->\n")


def stored(tmp_path: Path) -> int:
    return sum(1 for path in (tmp_path / "store").rglob("*") if path.is_file())


def publish_twice(change: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Publish two results; gives the commit that the pull request's branch of pictures is at."""
    bare = tmp_path / "owner/repo.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)
    (tmp_path / "gh").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gh").write_text(GH)
    (tmp_path / "bin/gh").chmod(0o755)
    # Project.run puts Python's folder first on PATH, and there is no gh in it.
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GH_STORE", str(tmp_path / "gh"))
    monkeypatch.setenv("GITHUB_SERVER_URL", f"file://{tmp_path}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/repo")

    change.run("scripts/ci/publish-github.sh", "atlas", "12")
    next((change.folder / "atlas/pictures").iterdir()).write_bytes(b"another picture")
    change.run("scripts/ci/publish-github.sh", "atlas", "12")
    calls = [" ".join(line.split()[:4]) for line in (tmp_path / "gh/calls").read_text().splitlines()]
    assert calls == [
        "api --paginate repos/owner/repo/issues/12/comments --jq",
        "pr comment 12 --repo",
        "api --paginate repos/owner/repo/issues/12/comments --jq",
        "api --silent --method PATCH",
    ], "one comment, edited and not repeated"

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(bare), *arguments], check=True, capture_output=True, text=True).stdout

    assert git("for-each-ref", "--format=%(refname)").split() == ["refs/heads/atlas-pictures/12"]
    assert git("rev-list", "--count", "atlas-pictures/12").strip() == "1", "no history that grows"
    refused = change.run("scripts/ci/publish-github.sh", "atlas", "12; echo", check=False)
    assert "is no pull request's number" in refused.stderr
    return git("rev-parse", "atlas-pictures/12").strip()


class GitLab(BaseHTTPRequestHandler):
    """As much of GitLab's API as a note needs."""

    notes: list[str]
    tokens: set[str | None]

    def do_GET(self) -> None:
        others = [{"id": 3, "body": "looks good"}]
        self.answer([*others, *({"id": 40 + n, "body": body} for n, body in enumerate(self.notes))])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/uploads"):
            self.answer({"url": "/uploads/0123abcd/picture.png"})
        else:
            self.notes.append(parse_qs(body.decode())["body"][0])
            self.answer({})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.notes[int(self.path.rpartition("/")[2]) - 40] = parse_qs(body.decode())["body"][0]
        self.answer({})

    def answer(self, content: object) -> None:
        self.tokens.add(self.headers["PRIVATE-TOKEN"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def gitlab() -> Iterator[tuple[str, type[GitLab]]]:
    handler = type("Handler", (GitLab,), {"notes": [], "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v4", handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_gitlabs_note_is_edited_and_has_its_pictures(
    gitlab: tuple[str, type[GitLab]], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, handler = gitlab
    (tmp_path / "atlas/pictures").mkdir(parents=True)
    (tmp_path / "atlas/pictures/01-head.png").write_bytes(b"png")
    comment = tmp_path / "atlas/comment.md"
    for name, value in {"API_V4_URL": address, "PROJECT_ID": "5", "MERGE_REQUEST_IID": "7"}.items():
        monkeypatch.setenv(f"CI_{name}", value)
    monkeypatch.setenv("GITLAB_TOKEN", "secret")
    for text in ("first", "second & last"):
        comment.write_text(f"<!-- vit-atlas -->\n{text}\n![head](pictures/01-head.png)\n")
        done = Project(tmp_path).run(str(root / "scripts/ci/publish-gitlab.sh"), "atlas")
        assert "secret" not in done.stdout + done.stderr
    assert handler.notes == ["<!-- vit-atlas -->\nsecond & last\n![head](/uploads/0123abcd/picture.png)\n"]
    assert handler.tokens == {"secret"}


def test_reproduce_leaves_its_table_and_its_exit_code(project: Project, root: Path) -> None:
    script = str(root / "scripts/ci/reproduce.sh")
    project.run("git", "tag", "v1")
    good = project.run(script, "v1", "atlas", "prepare")
    assert "\nexact: " in good.stdout
    assert "\nexact: " in (project.folder / "atlas/comment.md").read_text()
    bad = project.run(script, "no-such-commit", "atlas", check=False)
    assert bad.returncode == 2
    assert "no-such-commit is no commit" in bad.stderr
    assert "could not be run" in (project.folder / "atlas/comment.md").read_text()
