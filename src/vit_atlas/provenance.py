"""Where a result comes from and what it says, as the files tell it: DVC's record, git's commit, every number."""

import math
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vit_atlas import paths
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import read_json

LOCK = Path("dvc.lock")
DATA = Path("data.dvc")
METRICS = Path("metrics")


@dataclass(frozen=True)
class Commit:
    """The git commit that is checked out, and whether code or pipeline differ from it."""

    sha: str
    dirty: bool


def read_lock() -> dict[str, Any]:
    """Read dvc.lock's stages by name; empty where there is no dvc.lock.

    Raises:
        AtlasError: the file is not valid YAML.
    """
    stages = read_yaml(LOCK).get("stages") if LOCK.is_file() else None
    return {name: entry or {} for name, entry in stages.items()} if isinstance(stages, dict) else {}


def data_hash(stages: Mapping[str, Any]) -> str | None:
    """Find DVC's hash of the data: that of data.dvc, or else that of the folder as prepare recorded it."""
    places: list[Any] = list(read_yaml(DATA).get("outs") or []) if DATA.is_file() else []
    dependencies = stages.get("prepare", {}).get("deps") or []
    places += [item for item in dependencies if str(item.get("path")) == paths.CLASSIFICATION_DATA.as_posix()]
    hashes = [item["md5"] for item in places if isinstance(item, dict) and item.get("md5")]
    return str(hashes[0]) if hashes else None


def read_commit() -> Commit | None:
    """Ask git what is checked out; None outside git."""
    sha = _git("rev-parse", "HEAD")
    return Commit(sha, bool(_git("status", "--porcelain", "--", "src", "stages", "dvc.yaml"))) if sha else None


def read_numbers() -> dict[str, float]:
    """Read every finite number of metrics/*.json under ``file/key``, and the test accuracy as ``accuracy`` too."""
    numbers: dict[str, float] = {}
    for path in sorted(METRICS.glob("*.json")):
        numbers.update(_numbers(read_json(path), path.stem))
    if "evaluate/accuracy" in numbers:
        # First, for MLflow offers the first for comparing.
        numbers = {"accuracy": numbers["evaluate/accuracy"], **numbers}
    return numbers


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        AtlasError: it is not valid YAML.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise AtlasError(f"{path} is not valid YAML: bring it back with `git checkout {path}`") from None
    return content if isinstance(content, dict) else {}


def _numbers(value: Any, name: str) -> dict[str, float]:
    if isinstance(value, dict):
        found: dict[str, float] = {}
        for key, item in value.items():
            found.update(_numbers(item, f"{name}/{key}"))
        return found
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        # The characters that MLflow allows in a name.
        return {re.sub(r"[^\w/. :-]", "_", name, flags=re.ASCII): float(value)}
    return {}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
