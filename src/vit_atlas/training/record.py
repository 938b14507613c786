"""How the last training on this machine went: device, precision, time. It is no result, so DVC does not keep it.

Times and machines differ from one run to the next where the model does not: as an out of a stage they would make equal
results look unequal. The record says which history it belongs to, and counts only beside that one.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from vit_atlas.io.files import read_json, write_json
from vit_atlas.paths import HISTORY, TRAINING_RECORD


@dataclass(frozen=True)
class TrainingRecord:
    """One training, as it ran."""

    device: str
    """What it ran on, such as `NVIDIA H100` or a processor's name."""
    precision: str
    """`float32` or `bfloat16`."""
    seconds: float
    """Wall-clock time of the process that finished it."""
    resumed: bool
    """Whether it went on from an earlier process's checkpoint, whose time is not counted."""
    finished: str
    """Date and time (UTC, ISO 8601)."""
    history: str
    """sha256 of the history that it wrote."""

    def save(self) -> None:
        """Write it beside the checkpoints."""
        write_json(TRAINING_RECORD, asdict(self))


def record_training(device: str, precision: str, seconds: float, resumed: bool) -> None:
    """Keep the record of the training that has just written its history."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    TrainingRecord(device, precision, round(seconds, 1), resumed, finished, _hash(HISTORY)).save()


def read_training() -> TrainingRecord | None:
    """Read the record of the training that made build/history.csv; None where that was made elsewhere."""
    if not TRAINING_RECORD.is_file() or not HISTORY.is_file():
        return None
    found = TrainingRecord(**read_json(TRAINING_RECORD))
    return found if found.history == _hash(HISTORY) else None


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
