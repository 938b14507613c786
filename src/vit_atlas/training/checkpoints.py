"""Checkpoints: whose they are, which of them are whole, and the weights that did best so far."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
import transformers
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file, write_json
from vit_atlas.io.plain import canonical_json
from vit_atlas.paths import CHECKPOINTS
from vit_atlas.processes import count

_MARK = "complete.json"


def run_key(manifest: Path, settings: Mapping[str, Any], initial: Mapping[str, Tensor], code: str) -> str:
    """Hash of all that a training's result depends on, so that nobody resumes a training that was another one.

    Args:
        manifest: holds the photos' own hashes.
        settings: sections by name. What changes no result of the training does not count; of processes it is the
            number that really train.
        initial: the weights that training starts from.
        code: hash of the code that trains (:func:`vit_atlas.code_hash.code_hash`).
    """
    digest = hashlib.sha256(manifest.read_bytes())
    plain = {name: section.model_dump(mode="json") for name, section in settings.items()}
    for key in ("workers", "repeats", "linear_probe", "trunk_cache_gb"):
        plain["finetune"].pop(key)
    plain["finetune"]["processes"] = count()
    digest.update(canonical_json(plain).encode())
    digest.update(" ".join(library.__version__ for library in (torch, torchvision, transformers)).encode())
    digest.update(code.encode())
    digest.update(weights_hash(initial).encode())
    return digest.hexdigest()[:32]


@contextmanager
def only_one(stage: str) -> Iterator[None]:
    """Keep a second run of ``stage`` in this folder out while the block runs; a process that dies lets go by itself.

    Raises:
        AtlasError: another process is running it.
    """
    CHECKPOINTS.mkdir(exist_ok=True)
    path = CHECKPOINTS / f"{stage}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise AtlasError(
            f"{stage} is already running in this folder (another process holds {path}): "
            "wait until it has ended, then run this again"
        ) from None
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class Best:
    """The validation result of the best epoch so far."""

    accuracy: float
    loss: float
    step: int

    def beats(self, other: "Best | None") -> bool:
        """Whether this one is better: higher accuracy, or the same and a lower loss.

        The starting point (step 0, a head that fits already) is left only for a lower loss as well: of few validation
        photos one may be right by chance, at a loss that says how wrong the others are.
        """
        if other is None:
            return True
        if other.step == 0 and self.loss >= other.loss:
            return False
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


class Checkpoints:
    """The folder of one training's checkpoints: the trainer's ``checkpoint-STEP``, and ``best.safetensors``."""

    def __init__(self, key: str) -> None:
        self.folder = CHECKPOINTS / key

    @property
    def _best(self) -> Path:
        return self.folder / "best.safetensors"

    def latest(self) -> Path | None:
        """The newest whole checkpoint, or None; newer ones are removed.

        A checkpoint that was being written when a run was cut off is not whole. Nor is one whose files are not those
        that were written: it is told on stderr, and the one before it serves. Without the best weights that a
        checkpoint knows of, all of them are removed.
        """
        found = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        for path in reversed(found):
            damaged = self._damaged_file(path) if (path / _MARK).exists() else None
            if damaged == self._best:
                _warn(damaged, "training starts anew")
                self.remove()
                return None
            if damaged is None and (path / _MARK).exists():
                return path
            if damaged is not None:
                _warn(damaged, "training goes on from an earlier checkpoint, or starts anew")
            shutil.rmtree(path)
        self.remove()
        return None

    def mark(self, step: int) -> None:
        """Declare the checkpoint of ``step`` whole, now that all of it is written."""
        folder = self.folder / f"checkpoint-{step}"
        best = self.best()
        hashes = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
        write_json(folder / _MARK, {"best_step": best.step if best else None, "files": hashes})

    def best(self) -> Best | None:
        """The best result kept, or None."""
        if not self._best.exists():
            return None
        with safe_open(self._best, framework="pt") as file:
            kept = file.metadata()
        return Best(float(kept["accuracy"]), float(kept["loss"]), int(kept["step"]))

    def _damaged_file(self, checkpoint: Path) -> Path | None:
        """A file of a checkpoint that is missing or not as it was written, or None; its best weights count."""
        try:
            mark = json.loads((checkpoint / _MARK).read_text(encoding="utf-8"))
            hashes, best_step = mark["files"], mark["best_step"]
        except (ValueError, KeyError, TypeError):
            return checkpoint / _MARK
        if best_step is not None and not self._best_is_whole():
            return self._best
        for name, expected in hashes.items():
            path = checkpoint / name
            if not path.is_file() or file_hash(path) != expected:
                return path
        return None

    def _best_is_whole(self) -> bool:
        try:
            with safe_open(self._best, framework="pt") as file:
                kept = file.metadata()
            return weights_hash(load_file(self._best)) == kept["sha256"]
        except (OSError, SafetensorError, KeyError, TypeError):
            return False

    def keep_if_better(self, result: Best, weights: Mapping[str, Tensor]) -> None:
        """Keep ``weights`` in the place of the best so far, if ``result`` beats that."""
        if result.beats(self.best()):
            plain = {name: value.detach().cpu().contiguous() for name, value in sorted(weights.items())}
            metadata = {"accuracy": repr(result.accuracy), "loss": repr(result.loss), "step": str(result.step)}
            metadata["sha256"] = weights_hash(plain)
            with atomic_file(self._best) as temporary:
                save_file(plain, temporary, metadata)

    def best_weights(self) -> dict[str, Tensor]:
        """The weights of the best result."""
        return load_file(self._best)

    def remove(self) -> None:
        """Delete the folder, when the training is finished and its result written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def weights_hash(weights: Mapping[str, Tensor]) -> str:
    """Hash names and values, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _warn(damaged: Path, consequence: str) -> None:
    sys.stderr.write(f"warning: {damaged} is not as it was written: {consequence}\n")
