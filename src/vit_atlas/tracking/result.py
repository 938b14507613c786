"""One result as the files tell it: what DVC recorded, the settings, the numbers, the data."""

import hashlib
import json
import math
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vit_atlas import paths
from vit_atlas.errors import AtlasError
from vit_atlas.files import read_json
from vit_atlas.settings import Settings
from vit_atlas.tracking.keys import canonical_json, training_key

LOCK = Path("dvc.lock")
DATA = Path("data.dvc")
METRICS = Path("metrics")

TRAINING_SECTIONS: tuple[str, ...] = ("model", "augment", "finetune")
REPORT_STAGE = "report"
"""The stage that mirrors the result: DVC records it only after it ended, so it is no part of the result's key."""


@dataclass(frozen=True)
class Result:
    """What the files in the project's folder say; everything that MLflow shows is made from this."""

    key: str
    """Hash of every stage in dvc.lock but the report: the same hashes are the same result."""
    training: str | None
    """The key under which finetune streamed its curves; None without a manifest."""
    settings: dict[str, Any]
    """All settings sections, as those stages recorded them that have run, else as params.yaml has them."""
    metrics: dict[str, float]
    """Every number of metrics/*.json as ``file/key``, and the test accuracy as ``accuracy`` alone."""
    data_hash: str | None
    """DVC's hash of the data."""
    lock_hash: str
    """sha256 of dvc.lock."""
    commit: str | None
    """The git commit that is checked out; None outside git."""
    dirty: bool
    """Whether code or pipeline differ from that commit."""


def read_result() -> Result:
    """Read the result in the current folder.

    Raises:
        AtlasError: there is no dvc.lock with a stage in it, or a file cannot be read.
    """
    lock = _read_lock()
    settings = _settings(lock)
    training = None
    if paths.MANIFEST.is_file():
        sections: dict[str, Any] = {
            name: settings[name] for name in ("model", "augment", "finetune") if name in settings
        }
        training = training_key(paths.MANIFEST, sections)
    commit = _git("rev-parse", "HEAD")
    return Result(
        key=result_key(lock),
        training=training,
        settings=settings,
        metrics=read_metrics(),
        data_hash=data_hash(lock),
        lock_hash=hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        commit=commit,
        dirty=bool(commit and _git("status", "--porcelain", "--", "src", "stages", "dvc.yaml")),
    )


def result_key(lock: Mapping[str, Any]) -> str:
    """Hash the stages of a parsed dvc.lock (commands, dependencies, settings, outputs) without the report's."""
    stages = {name: entry for name, entry in lock["stages"].items() if name != REPORT_STAGE}
    return hashlib.sha256(canonical_json(stages).encode()).hexdigest()


def read_metrics() -> dict[str, float]:
    """Read every finite number of metrics/*.json (the names: see :class:`Result`)."""
    numbers: dict[str, float] = {}
    for path in sorted(METRICS.glob("*.json")):
        numbers.update(_numbers(read_json(path), path.stem))
    if "evaluate/accuracy" in numbers:
        numbers["accuracy"] = numbers["evaluate/accuracy"]
    return numbers


def data_hash(lock: Mapping[str, Any]) -> str | None:
    """Find DVC's hash of the data: of data.dvc, or of the folder as prepare recorded it."""
    places: list[Any] = []
    if DATA.is_file():
        places += _yaml(DATA).get("outs") or []
    dependencies = (lock["stages"].get("prepare") or {}).get("deps") or []
    places += [item for item in dependencies if str(item.get("path")) == paths.CLASSIFICATION_DATA.as_posix()]
    hashes = [item["md5"] for item in places if isinstance(item, dict) and item.get("md5")]
    return str(hashes[0]) if hashes else None


def _read_lock() -> dict[str, Any]:
    if not LOCK.is_file():
        raise AtlasError("dvc.lock does not exist, so there is no result to show: run `dvc repro` first")
    lock = _yaml(LOCK)
    stages = lock.get("stages")
    if not isinstance(stages, dict) or not [name for name in stages if name != REPORT_STAGE]:
        raise AtlasError("dvc.lock records no stage, so there is no result to show: run `dvc repro` first")
    return lock


def _settings(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Merge params.yaml with what stages recorded; the record wins, for it is what the numbers were made with."""
    raw = _yaml(paths.PARAMS) if paths.PARAMS.is_file() else {}
    for entry in lock["stages"].values():
        for name, value in ((entry or {}).get("params") or {}).get(paths.PARAMS.as_posix(), {}).items():
            _put(raw, name.split("."), value)
    try:
        return Settings.model_validate(raw).model_dump(mode="json")
    except ValidationError:
        # Recorded under other settings than this version knows: shown as they are.
        return raw


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = value


def _numbers(value: Any, name: str) -> dict[str, float]:
    if isinstance(value, dict):
        found: dict[str, float] = {}
        for key, item in value.items():
            found.update(_numbers(item, f"{name}/{key}"))
        return found
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return {re.sub(r"[^\w/. :-]", "_", name, flags=re.ASCII): float(value)}
    return {}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise AtlasError(f"{path} is not valid YAML: bring it back with `git checkout {path}`") from None
    return content if isinstance(content, dict) else {}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def data_description(metrics: Mapping[str, float]) -> str:
    """What prepare counted in the data, as JSON for MLflow's data set panel."""
    counts = {name.removeprefix("prepare/"): value for name, value in metrics.items() if name.startswith("prepare/")}
    return json.dumps({name: int(value) if value.is_integer() else value for name, value in counts.items()})
