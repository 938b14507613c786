"""One result as the files tell it: what DVC recorded, the settings, the numbers, the data."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vit_atlas import paths
from vit_atlas.data.manifest import read_classes
from vit_atlas.errors import AtlasError
from vit_atlas.io.plain import canonical_json
from vit_atlas.provenance import LOCK, Commit, data_hash, read_commit, read_lock, read_numbers, read_yaml
from vit_atlas.settings import Settings
from vit_atlas.tracking.keys import training_key

TRAINING_SECTIONS: tuple[str, ...] = ("model", "augment", "finetune")
REPORT_STAGE = "report"
"""The stage that mirrors the result, and so is no part of it."""


@dataclass(frozen=True)
class Result:
    """What the files in the project's folder say; everything that MLflow shows is made from this."""

    key: str
    """Hash of every stage in dvc.lock but the report's: the same hashes are the same result."""
    training: str | None
    """The key under which finetune streamed its curves; None without a manifest."""
    settings: dict[str, Any]
    """All settings sections, as those stages recorded them that have run, else as params.yaml has them."""
    metrics: dict[str, float]
    """Every number of metrics/*.json as ``file/key``, and the test accuracy as ``accuracy`` alone."""
    data_hash: str | None
    """DVC's hash of the data."""
    test_data: str | None
    """Hash of the test photos and their classes; None without a manifest."""
    model: str | None
    """Hash of the model's bytes and of the test photos that it was measured on; None without a recorded model."""
    classes: tuple[str, ...]
    """Class names; empty where prepare has not written them."""
    lock_hash: str
    """sha256 of dvc.lock."""
    commit: Commit | None
    """The git commit that is checked out; None outside git."""


def read_result() -> Result:
    """Read the result in the current folder.

    Raises:
        AtlasError: there is no dvc.lock with a stage in it, the files are not those that it records, or one cannot be
            read.
    """
    # The report's record is left over from the result before: DVC writes the new one only when the stage has ended.
    stages = {name: entry for name, entry in read_lock().items() if name != REPORT_STAGE}
    if not stages:
        raise AtlasError("dvc.lock is missing or records no stage, so there is no result yet: run `dvc repro` first")
    _check_outputs(stages)
    settings = recorded_settings(stages)
    training = None
    if paths.MANIFEST.is_file():
        training = training_key(paths.MANIFEST, {name: settings.get(name) for name in TRAINING_SECTIONS})
    photos = test_data(paths.MANIFEST) if paths.MANIFEST.is_file() else None
    return Result(
        key=result_key(stages),
        training=training,
        settings=settings,
        metrics=read_numbers(),
        data_hash=data_hash(stages),
        test_data=photos,
        model=model_key(stages, photos),
        classes=tuple(read_classes()) if paths.CLASSES.is_file() else (),
        lock_hash=hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        commit=read_commit(),
    )


def result_key(stages: Mapping[str, Any]) -> str:
    """Hash stages as dvc.lock records them: commands, dependencies, settings, outputs."""
    return hashlib.sha256(canonical_json(stages).encode()).hexdigest()


def model_key(stages: Mapping[str, Any], test_photos: str | None) -> str | None:
    """Hash the model as DVC recorded it, and the photos that its card's numbers come from."""
    outs = stages.get("finetune", {}).get("outs") or []
    recorded = next((out.get("md5") for out in outs if out["path"] == paths.MODEL.as_posix()), None)
    return hashlib.sha256(f"{recorded} {test_photos}".encode()).hexdigest() if recorded else None


def test_data(manifest: Path) -> str | None:
    """Hash the test photos' contents and classes: results with the same hash were measured on the same questions.

    The settings of the split are part of that, and captions are not, so it is neither DVC's hash nor the manifest's.
    None when the manifest has no such columns or no test photo.
    """
    with manifest.open(encoding="utf-8", newline="") as file:
        photos = sorted(
            f"{row['sha256']} {row['class_name']}"
            for row in csv.DictReader(file)
            if row.get("split") == "test" and "sha256" in row and "class_name" in row
        )
    return hashlib.sha256("\n".join(photos).encode()).hexdigest() if photos else None


def _check_outputs(stages: Mapping[str, Any]) -> None:
    """Make sure that the numbers in the folder belong to this dvc.lock; folders are looked for, files are hashed."""
    for stage, entry in stages.items():
        for out in entry.get("outs") or []:
            path = Path(out["path"])
            recorded = str(out.get("md5", ""))
            if not recorded:
                continue
            same = path.is_dir() if recorded.endswith(".dir") else path.is_file() and _md5(path) == recorded
            if not same:
                raise AtlasError(
                    f"{path} is not what dvc.lock records of the stage {stage}, so files and record are of different "
                    "results: run `dvc repro` (or `dvc checkout`) first"
                )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def recorded_settings(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Merge params.yaml with what stages recorded; the record wins, for it is what the numbers were made with."""
    raw = read_yaml(paths.PARAMS) if paths.PARAMS.is_file() else {}
    for entry in stages.values():
        for name, value in (entry.get("params") or {}).get(paths.PARAMS.as_posix(), {}).items():
            _put(raw, name.split("."), value)
    try:
        return Settings.model_validate(raw).model_dump(mode="json")
    except ValidationError:
        # Recorded under other settings than this version knows: shown as they are.
        return raw


def data_description(metrics: Mapping[str, float]) -> str:
    """What prepare counted in the data, as JSON for MLflow's data set panel."""
    counts = {name.removeprefix("prepare/"): value for name, value in metrics.items() if name.startswith("prepare/")}
    return json.dumps({name: int(value) if value.is_integer() else value for name, value in counts.items()})


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = value
