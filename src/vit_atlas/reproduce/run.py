"""Doing a committed result over again, in a workspace of its own."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import require_free_space
from vit_atlas.reproduce import compare
from vit_atlas.reproduce.compare import MetricRow, OutRow, Overall
from vit_atlas.reproduce.data import bring_data
from vit_atlas.reproduce.workspace import DVC, Revision, Workspace, find_revision, is_dirty, open_workspace

LOCK = "dvc.lock"
NAMED_VERSIONS = 6
"""Differing packages that a note names before it says how many more there are."""


@dataclass(frozen=True)
class Reproduction:
    """What came of doing a revision's result over again."""

    revision: Revision
    verdict: Overall
    against: list[str]
    """What speaks against the result, when the verdict is ``differs``."""
    data: dict[str, str]
    """DVC's hash of the data, by path."""
    source: str
    """Where the data came from."""
    outs: list[OutRow]
    metrics: list[MetricRow]
    notes: list[str]
    seconds: float


def reproduce(
    name: str,
    project: Path,
    stages: Sequence[str] = (),
    keep: Path | None = None,
    tolerance: float = compare.TOLERANCE,
) -> Reproduction:
    """Run the pipeline of a commit again, with its own code on its own data, and compare with what was committed.

    Nothing in ``project`` is changed. The DVC cache there is read and not written, no stage is restored from the
    run-cache, and runs are tracked in a database of the workspace.

    Args:
        name: the commit, branch or tag.
        project: the folder with dvc.yaml.
        stages: run only these and those before them; by default all.
        keep: check out into this new or empty folder and leave it; by default a temporary one.
        tolerance: see :func:`vit_atlas.reproduce.compare.compare_metrics`.

    Raises:
        AtlasError: it cannot be run: no such commit, no dvc.lock, no data, a stage that fails.
    """
    started = time.monotonic()
    revision = find_revision(name, project)
    committed = _committed_stages(revision)
    unknown = [stage for stage in stages if stage not in committed]
    if unknown:
        raise AtlasError(f"dvc.lock of {name} has no stage {unknown[0]}: it has {', '.join(committed)}")
    with open_workspace(revision, keep) as workspace:
        require_free_space(
            workspace.folder, _bytes(committed), f"reproducing {name}", "free some, or set TMPDIR (or --keep) elsewhere"
        )
        data, source = bring_data(workspace, project)
        now = _run(workspace, stages)
        outs = compare.compare_outs(committed, now)
        metrics, problems = _compare_metrics(workspace, committed, now, tolerance)
        notes = [*_notes(revision), *_stale(committed, now)]
    verdict, against = compare.judge(outs, metrics, now)
    if problems:
        verdict, against = "differs", [*against, *problems]
    seconds = time.monotonic() - started
    return Reproduction(revision, verdict, against, data, source, outs, metrics, notes, seconds)


def _run(workspace: Workspace, stages: Sequence[str]) -> dict[str, Any]:
    """Run the pipeline; returns the new dvc.lock's stages, which are those that ran."""
    workspace.require_own_code()
    lock = workspace.folder / LOCK
    # Without it, what dvc.lock holds afterwards is what was made now.
    lock.unlink()
    # --force passes by the run-cache; --no-commit keeps the user's cache as it is.
    if workspace.run(*DVC, "repro", "--force", "--no-commit", *stages, state="run") != 0:
        raise AtlasError(
            f"`dvc repro` of {workspace.revision.name} failed in the workspace, for the reason printed above "
            "(--keep DIR leaves the workspace to look at)"
        )
    return _stages(lock.read_bytes(), LOCK)


def _compare_metrics(
    workspace: Workspace, committed: Mapping[str, Any], now: Mapping[str, Any], tolerance: float
) -> tuple[list[MetricRow], list[str]]:
    """Compare the metrics files of the stages that ran; also what dvc.lock and git contradict each other in."""
    rows: list[MetricRow] = []
    problems = []
    writers = {out: stage for stage, entry in now.items() for out in compare.hashes(entry, "outs")}
    for file in _metrics_files(workspace):
        content, place = workspace.revision.read(file), workspace.folder / file
        if file not in writers or content is None:
            continue
        if compare.inconsistent(file, content, committed):
            problems.append(f"{file} in git is not the one that dvc.lock records")
        old, new = _json(content, file), _json(place.read_bytes(), file)
        rows += compare.compare_metrics(file, old, new, tolerance, exact=Path(file).stem in compare.EXACT_STAGES)
    return rows, problems


def _metrics_files(workspace: Workspace) -> list[str]:
    """Read dvc.yaml's lists of metrics: the one at the top, and those of the stages."""
    definition = yaml.safe_load((workspace.folder / "dvc.yaml").read_text(encoding="utf-8")) or {}
    listed = list(definition.get("metrics") or [])
    for stage in (definition.get("stages") or {}).values():
        listed += stage.get("metrics") or []
    names = [next(iter(item)) if isinstance(item, dict) else str(item) for item in listed]
    return [name for name in dict.fromkeys(names) if name.endswith(".json")]


def _committed_stages(revision: Revision) -> dict[str, Any]:
    content = revision.read(LOCK)
    if content is None:
        raise AtlasError(
            f"{revision.name} has no {LOCK} in {revision.top / revision.project}: there is no result to compare with "
            f"(`dvc repro` makes one, `git add {LOCK}` and a commit keep it)"
        )
    stages = _stages(content, f"{LOCK} of {revision.name}")
    if not stages:
        raise AtlasError(f"{LOCK} of {revision.name} records no stage: there is no result to compare with")
    return stages


def _stages(content: bytes, where: str) -> dict[str, Any]:
    try:
        return dict((yaml.safe_load(content) or {}).get("stages") or {})
    except (yaml.YAMLError, AttributeError):
        raise AtlasError(f"{where} is not a lock file of DVC 3: bring it back with `git checkout`") from None


def _json(content: bytes, file: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise AtlasError(f"{file} is not valid JSON: its stage, or an editor, broke it") from None


def _bytes(stages: Mapping[str, Any]) -> int:
    """Sum up what the workspace will hold: the outs of all stages, and the deps that no stage makes."""
    sizes = {item["path"]: item.get("size", 0) for entry in stages.values() for item in entry.get("deps") or []}
    sizes |= {item["path"]: item.get("size", 0) for entry in stages.values() for item in entry.get("outs") or []}
    return sum(sizes.values())


def _notes(revision: Revision) -> list[str]:
    notes = []
    if is_dirty(revision):
        notes.append(f"your uncommitted changes are no part of {revision.name} and were left alone")
    locked = (revision.read("requirements.lock") or b"").decode(errors="replace")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", locked, re.MULTILINE))
    other = [f"{name} {_installed(name) or 'missing'} ({pin})" for name, pin in pins.items() if _installed(name) != pin]
    if other:
        more = f" and {len(other) - NAMED_VERSIONS} more" if len(other) > NAMED_VERSIONS else ""
        notes.append(
            f"other versions than in the revision's requirements.lock (in brackets): "
            f"{', '.join(other[:NAMED_VERSIONS])}{more}"
        )
    return notes


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _stale(committed: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"dvc.lock is older than its revision: {', '.join(changed)} of stage {stage} changed after it was written"
        for stage, changed in compare.stale_stages(committed, now).items()
    ]
