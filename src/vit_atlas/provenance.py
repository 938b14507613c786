"""Where a result comes from and what it says, as the files tell it: DVC's record, git's commit, every number."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from vit_atlas import paths
from vit_atlas.errors import AtlasError
from vit_atlas.git import changed_files, git
from vit_atlas.io.files import read_json
from vit_atlas.io.plain import flatten, load_yaml

LOCK = Path("dvc.lock")
DATA = Path("data.dvc")
METRICS = Path("metrics")
IN_GIT = ("src", "stages", "dvc.yaml", "params.yaml", "data.dvc", "dvc.lock", "metrics", "plots")
"""What a result is made of, as far as git holds it: code, pipeline, settings, data's hash, record, numbers."""

SECTIONS_WITH_SEEDS = {"repeat": "finetune", "caption-repeat": "captions"}
"""Stages that DVC runs once a seed, and the section whose key ``repeats`` lists the seeds."""


@dataclass(frozen=True)
class Commit:
    """The git commit that is checked out, and whether what a result is made of differs from it."""

    sha: str
    dirty: bool


def read_lock() -> dict[str, Any]:
    """Read dvc.lock's stages by name; empty where there is no dvc.lock.

    DVC leaves the record of a seed there that params.yaml asks for no more; it is no part of the result.

    Raises:
        AtlasError: the file is not valid YAML.
    """
    stages = read_yaml(LOCK).get("stages") if LOCK.is_file() else None
    if not isinstance(stages, dict):
        return {}
    params = read_yaml(paths.PARAMS) if paths.PARAMS.is_file() else {}
    return {name: entry or {} for name, entry in stages.items() if _asked_for(name, params)}


def _asked_for(name: str, params: Mapping[str, Any]) -> bool:
    """Whether a stage of dvc.lock is none of a seed, or of one that the settings list."""
    stage, _, seed = str(name).partition("@")
    section = params.get(SECTIONS_WITH_SEEDS.get(stage, "")) or {}
    return stage not in SECTIONS_WITH_SEEDS or seed in map(str, section.get("repeats") or [])


def data_hash(stages: Mapping[str, Any]) -> str | None:
    """Find DVC's hash of the data: that of data.dvc, or else that of the folder as prepare recorded it."""
    places: list[Any] = list(read_yaml(DATA).get("outs") or []) if DATA.is_file() else []
    dependencies = stages.get("prepare", {}).get("deps") or []
    places += [item for item in dependencies if str(item.get("path")) == paths.CLASSIFICATION_DATA.as_posix()]
    hashes = [item["md5"] for item in places if isinstance(item, dict) and item.get("md5")]
    return str(hashes[0]) if hashes else None


def read_commit(project: Path = Path()) -> Commit | None:
    """Ask git what is checked out in ``project``; None outside git.

    The commit does not hold the result as long as code, settings, data's hash, or the numbers and tables that the
    stages wrote are changed: ``dirty`` says so until they are committed.
    """
    try:
        head = git(project, "rev-parse", "--verify", "--quiet", "HEAD")
    except AtlasError:
        return None
    return Commit(head.stdout.decode().strip(), bool(changed_files(project, *IN_GIT))) if head.returncode == 0 else None


def read_numbers() -> dict[str, float]:
    """Read every finite number of metrics/*.json under ``file/key``, and the test accuracy as ``accuracy`` too."""
    numbers: dict[str, float] = {}
    for path in sorted(METRICS.glob("*.json")):
        for name, value in flatten(read_json(path), "/", path.stem).items():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                # The characters that MLflow allows in a name.
                numbers[re.sub(r"[^\w/. :-]", "_", name, flags=re.ASCII)] = float(value)
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
        content = load_yaml(path)
    except YAMLError:
        raise AtlasError(f"{path} is not valid YAML: bring it back with `git checkout {path}`") from None
    return content if isinstance(content, dict) else {}
