"""Workflows: nothing from outside runs that was not named by its hash, and scripts are sound."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PINNED = re.compile(
    r"^(?:[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|docker://\S+@sha256:[0-9a-f]{64} # \d+\.\d+\.\d+)$"
)


def workflows(root: Path) -> list[Path]:
    found = sorted((root / ".github" / "workflows").glob("*.yml"))
    assert found
    return found


def tool(name: str) -> str:
    """A program beside Python or on PATH; the test is skipped without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def test_every_action_is_pinned_by_commit(root: Path) -> None:
    used = [line for path in workflows(root) for line in re.findall(r"uses: (.*)", path.read_text())]
    assert len(used) > 5
    assert [line for line in used if not PINNED.match(line)] == []
    # One commit an action: no workflow lags behind.
    assert len(set(used)) == len({line.partition("@")[0] for line in used})


def test_no_job_may_write_but_the_one_that_comments(root: Path) -> None:
    allowed: dict[str, Any] = {}
    for path in workflows(root):
        content = yaml.safe_load(path.read_text())
        for name, job in content["jobs"].items():
            allowed[name] = job.get("permissions", content["permissions"])
    writing = {name for name, rights in allowed.items() if "write" in rights.values()}
    assert writing == {"comment"}


def test_a_forks_code_never_reaches_the_gpu(root: Path) -> None:
    content = yaml.safe_load((root / ".github/workflows/gpu.yml").read_text())
    triggers = content[True]  # YAML reads the key `on` as true
    assert triggers["pull_request"] == {"types": ["labeled"]}, "a push to a labelled pull request starts nothing"
    assert "pull_request_target" not in triggers
    self_hosted = [job for job in content["jobs"].values() if "self-hosted" in job["runs-on"]]
    assert len(self_hosted) == 1
    # Each way in is a person with rights to this repository, or a labelled branch of this repository.
    for way in " ".join(self_hosted[0]["if"].split()).split("||"):
        conditions = {condition.strip(" ()") for condition in way.split("&&")}
        assert conditions == {"github.event_name == 'workflow_dispatch'"} or conditions >= {
            "github.event.label.name == 'gpu'",
            "github.event.pull_request.head.repo.full_name == github.repository",
        }
    gitlab = yaml.safe_load((root / ".gitlab-ci.yml").read_text())
    (rule,) = gitlab["gpu"]["rules"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in rule["if"]


def test_scripts_named_in_workflows_are_there_and_can_be_run(root: Path) -> None:
    texts = [path.read_text() for path in [*workflows(root), root / ".gitlab-ci.yml"]]
    named = {name for text in texts for name in re.findall(r"scripts/ci/[\w-]+\.sh", text)}
    there = {path.relative_to(root).as_posix() for path in (root / "scripts" / "ci").iterdir()}
    assert named == there
    for name in named:
        script = root / name
        assert script.stat().st_mode & 0o100, name
        assert "\nset -euo pipefail\n" in script.read_text(), name


def test_shellcheck_has_nothing_to_say(root: Path) -> None:
    files = [root / ".ci/run", *(path for path in (root / "scripts").rglob("*") if path.is_file())]
    scripts = [path for path in files if path.read_text().startswith("#!/usr/bin/env bash")]
    assert len(scripts) >= 8
    done = subprocess.run([tool("shellcheck"), *map(str, scripts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_actionlint_has_nothing_to_say(root: Path) -> None:
    done = subprocess.run([tool("actionlint"), *map(str, workflows(root))], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
