"""Checkpoints: whose they are, which of them are whole, and the weights that did best so far."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import vit_atlas
from vit_atlas.files import atomic_file
from vit_atlas.paths import CHECKPOINTS
from vit_atlas.tracking.keys import canonical_json

_CODE = ("training", "models", "data/augmentation.py", "data/photos.py")
_MARK = "complete"


def run_key(manifest: Path, settings: Mapping[str, Any], initial: Mapping[str, Tensor]) -> str:
    """Hash of all that a training's result depends on, so that nobody resumes a training that was another one.

    Args:
        manifest: holds the photos' own hashes.
        settings: sections by name. ``finetune.workers`` changes no result and does not count.
        initial: the weights that training starts from.
    """
    digest = hashlib.sha256(manifest.read_bytes())
    plain = {name: section.model_dump(mode="json") for name, section in settings.items()}
    plain["finetune"].pop("workers")
    digest.update(canonical_json(plain).encode())
    digest.update(" ".join(library.__version__ for library in (torch, torchvision, transformers)).encode())
    for source in _sources():
        digest.update(source.read_bytes())
    for name, tensor in initial.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Best:
    """The validation result of the best epoch so far."""

    accuracy: float
    loss: float
    step: int

    def beats(self, other: "Best | None") -> bool:
        """Whether this one is better: higher accuracy, or the same and a lower loss."""
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


class Checkpoints:
    """The folder of one training's checkpoints: the trainer's ``checkpoint-STEP``, and ``best.safetensors``."""

    def __init__(self, key: str) -> None:
        self.folder = CHECKPOINTS / key

    @property
    def _best(self) -> Path:
        return self.folder / "best.safetensors"

    def latest(self) -> Path | None:
        """The newest whole checkpoint; those that were being written when a run was cut off are removed."""
        whole = []
        for path in self.folder.glob("checkpoint-*"):
            if (path / _MARK).exists():
                whole.append(path)
            else:
                shutil.rmtree(path)
        return max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)

    def mark(self, step: int) -> None:
        """Declare the checkpoint of ``step`` whole, now that all of it is written."""
        (self.folder / f"checkpoint-{step}" / _MARK).touch()

    def best(self) -> Best | None:
        """The best result kept, or None."""
        if not self._best.exists():
            return None
        with safe_open(self._best, framework="pt") as file:
            kept = file.metadata()
        return Best(float(kept["accuracy"]), float(kept["loss"]), int(kept["step"]))

    def keep_if_better(self, result: Best, weights: Mapping[str, Tensor]) -> None:
        """Keep ``weights`` in the place of the best so far, if ``result`` beats that."""
        if result.beats(self.best()):
            metadata = {"accuracy": repr(result.accuracy), "loss": repr(result.loss), "step": str(result.step)}
            with atomic_file(self._best) as temporary:
                save_file({name: value.contiguous() for name, value in weights.items()}, temporary, metadata)

    def best_weights(self) -> dict[str, Tensor]:
        """The weights of the best result."""
        return load_file(self._best)

    def remove(self) -> None:
        """Delete the folder, when the training is finished and its result written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _sources() -> list[Path]:
    root = Path(vit_atlas.__file__).parent
    found: list[Path] = []
    for name in _CODE:
        place = root / name
        found += sorted(place.glob("*.py")) if place.is_dir() else [place]
    return found
