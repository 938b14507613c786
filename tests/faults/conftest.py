"""A tiny prepared project, and stage scripts that are cut off where a test says."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.project import TINY_SETTINGS, write_captions, write_photos, write_tiny_vit
from tests.tiny_settings import SECTIONS, params_text

NEVER: dict[str, Any] = {"kind": "never"}
TRAINING = {
    "finetune": {"epochs": 4, "checkpoint_steps": 2, "trainable_blocks": 1, "cached_views": 2},
    "captioner": {"epochs": 4, "checkpoint_steps": 1, "batch_size": 4},
}
"""Three photos' batches an epoch or so, a checkpoint every step or two: many moments in little time."""


@dataclass(frozen=True)
class Ended:
    """How a stage script ended, and what it did until then."""

    code: int
    steps: int
    events: int
    output: str


class Workshop:
    """The process that runs stage scripts; see zygote.py."""

    def __init__(self, root: Path, logs: Path) -> None:
        self._root = root
        self._logs = logs
        self._count = 0
        own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | own | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])},
        )

    def run(self, folder: Path, stage: str, moment: dict[str, Any] = NEVER, tracking: bool = False) -> Ended:
        """Run ``stages/<stage>.py`` in ``folder`` up to ``moment``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._count += 1
        log = self._logs / f"{self._count}.log"
        # An address of no known kind: tracking gives up at once, with a warning, and costs no time.
        uri = {} if tracking else {"MLFLOW_TRACKING_URI": "none://"}
        job = {
            "folder": str(folder),
            "script": str(self._root / "stages" / f"{stage}.py"),
            "log": str(log),
            "moment": moment,
            "environment": uri,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that runs stages has ended"
        return Ended(**json.loads(answer), output=log.read_text(errors="replace"))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="session")
def workshop(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One process for all tests that run stages."""
    made = Workshop(root, tmp_path_factory.mktemp("logs"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def trained(root: Path, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after prepare, finetune and caption-train that nobody disturbed. Tests change copies of it."""
    folder = tmp_path_factory.mktemp("trained")
    changes = {name: TINY_SETTINGS.get(name, {}) | TRAINING.get(name, {}) for name in SECTIONS}
    (folder / "params.yaml").write_text(params_text(**changes))
    write_photos(folder / "data" / "classification", photos=12)
    write_captions(folder / "data" / "captioning")
    write_tiny_vit(folder / "tiny-vit")
    for stage in ("prepare", "finetune", "caption_train"):
        ended = workshop.run(folder, stage)
        assert ended.code == 0, ended.output
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained project, to change at will."""
    return shutil.copytree(trained, tmp_path / "project")


def hashes(folder: Path, *places: str) -> dict[str, str]:
    """The SHA-256 of every file in ``places`` (files or folders), hidden ones too."""
    found = [path for place in places for path in [folder / place, *(folder / place).rglob("*")] if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)}


def set_params(folder: Path, section: str, **values: Any) -> None:
    """Change settings in params.yaml."""
    path = folder / "params.yaml"
    settings = yaml.safe_load(path.read_text())
    settings[section] |= values
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
