"""How the result was made, in a few lines: photos, training, versions; and why the drawn photos are these."""

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from vit_atlas import __version__
from vit_atlas.provenance import data_hash, read_commit, read_lock
from vit_atlas.settings import AttentionSettings, CaptionsSettings, Settings
from vit_atlas.training.record import read_training

Metrics = Mapping[str, Any]

PACKAGES = ("torch", "transformers", "dvc", "mlflow")
"""Packages whose versions the page tells."""


def facts(settings: Settings, prepare: Metrics, project: Path) -> list[tuple[str, str]]:
    """Names and values for the page's last chapter, of the code in ``project``; what cannot be known says why."""
    commit = read_commit(project)
    changed = " with uncommitted changes" if commit and commit.dirty else ""
    found = [
        ("Pretrained model", settings.model.name),
        ("Photos", _photos(prepare)),
        ("Rejected files", _rejected(prepare)),
        *(("Warning", text) for text in prepare.get("warnings", [])),
        ("Trained", _training(settings.finetune.epochs)),
        ("Data (DVC's hash)", data_hash(read_lock()) or "unknown: data/ is not tracked by DVC"),
        ("Code", f"commit {commit.sha[:12]}{changed}" if commit else "not under git"),
        ("vit-atlas", __version__),
        ("Python", platform.python_version()),
    ]
    return found + [(name, _version(name)) for name in PACKAGES]


def why_photos(settings: AttentionSettings) -> str:
    """Why the attention explorer shows the photos that it shows."""
    if settings.photos != "auto":
        return "They are named in attention.photos of params.yaml."
    return (
        "They were chosen by rule: half of them are wrong guesses and half right ones, as far as there are both, and "
        "of each class the most confident, one class after the other. attention.count in params.yaml says how many, "
        "and attention.photos names others."
    )


def why_captions(settings: CaptionsSettings) -> str:
    """Why the caption explorer shows the photos that it shows."""
    if settings.photos != "auto":
        return "The photos are named in captions.photos of params.yaml."
    return "The photos are spread evenly over those of the test; captions.photos names others."


def _photos(prepare: Metrics) -> str:
    if "train" not in prepare:
        return "unknown: metrics/prepare.json is missing"
    parts = f"{prepare['train']} to train, {prepare['val']} to choose the epoch, {prepare['test']} to test"
    return f"{prepare['photos']} in {prepare['classes']} classes: {parts}"


def _rejected(prepare: Metrics) -> str:
    count = prepare.get("rejected_count")
    if count is None:
        return "unknown: metrics/prepare.json is missing"
    return f"{count}: build/prepared/rejected.csv tells the reason of each" if count else "none"


def _training(epochs: int) -> str:
    plan = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    record = read_training()
    if record is None:
        return f"{plan}; when and on what is not known here: the model was trained in another folder"
    day = datetime.fromisoformat(record.finished).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    parts = "the last part of it " if record.resumed else ""
    return f"{day}: {plan}, {parts}in {_span(record.seconds)}, on {record.device}, in {record.precision}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _version(name: str) -> str:
    try:
        return package_version(name)
    except PackageNotFoundError:
        return "not installed"
