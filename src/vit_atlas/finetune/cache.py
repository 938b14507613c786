"""What the pretrained network says of photos, kept in .trunk-cache from one training to the next.

An array's file is named by a hash of everything that its values depend on: the photos' bytes, how they become pixels,
the weights up to where the network is cut, code and versions. So another learning rate, another seed of the head or one
more view finds what an earlier training computed. This is an accelerator only: the folder may be deleted at any time, a
file that is not as it was written is made again, and no result depends on it.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
import transformers

from vit_atlas.code_hash import code_hash
from vit_atlas.data.photos import reader_versions
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import free_space, require_free_space, reserve, write_json
from vit_atlas.io.plain import canonical_json
from vit_atlas.paths import TRUNK_CACHE
from vit_atlas.processes import count, from_first, is_first, wait_for_all
from vit_atlas.training.checkpoints import file_hash, weights_hash

BATCH = 32
"""Photos a forward pass: a number of its own, so that another `finetune.batch_size` finds the same arrays."""

REMEDY = "free some, lower finetune.cached_views, or set finetune.trainable_blocks to all (slower, no cache)"


@dataclass(frozen=True)
class Wanted:
    """An array, and what its values depend on (plain values, see :func:`network_identity`)."""

    identity: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: type[np.floating[Any]]

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def path(self) -> Path:
        """Its file; a second one beside it, written last, holds the hash of its bytes."""
        parts = [self.identity, list(self.shape), np.dtype(self.dtype).name]
        return TRUNK_CACHE / f"{hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:32]}.values"

    def open(self, mode: Any = "r") -> np.memmap:
        """Map the file into memory."""
        return np.memmap(self.path, dtype=self.dtype, mode=mode, shape=self.shape)


def network_identity(module: Any, *code: str, without: Sequence[str] = ()) -> dict[str, Any]:
    """Tell what the outputs of ``module`` depend on beside its input.

    Args:
        module: the network.
        code: names of the modules that run it.
        without: names of parameters that the outputs do not depend on.
    """
    libraries = (np, torch, torchvision, transformers)
    return {
        "weights": weights_hash({name: value for name, value in module.state_dict().items() if name not in without}),
        "structure": f"{module}\n{getattr(module, 'config', '')}",
        "code": code_hash(*code),
        "versions": [library.__version__ for library in libraries] + [reader_versions()],
        "batches": [BATCH, count()],  # In other batches sums are rounded differently.
    }


def remembered(wanted: Sequence[Wanted], fill: Callable[[int, np.memmap], None], purpose: str) -> list[np.memmap]:
    """Bring arrays from the cache, and make those that it lacks.

    Several processes share the work and the files, so the project's folder is one that all of them see.

    Args:
        wanted: the arrays.
        fill: called with a place in ``wanted`` and its array, writes this process's share of it.
        purpose: what needs the room, for a message.

    Returns:
        The arrays, read-only, in the order of ``wanted``.

    Raises:
        AtlasError: the disk has no room.
    """
    lacking = from_first(lambda: [place for place, item in enumerate(wanted) if not _is_whole(item)])
    if is_first():
        _make_files([wanted[place] for place in lacking], {item.path for item in wanted}, purpose)
    wait_for_all()
    for place in lacking:
        array = wanted[place].open("r+")
        fill(place, array)
        array.flush()
        wait_for_all()
        if is_first():
            write_json(_seal(wanted[place].path), {"sha256": file_hash(wanted[place].path)})
    return [item.open() for item in wanted]


@contextmanager
def bounded(gigabytes: float) -> Iterator[None]:
    """When the block ends, remove what is not whole, and what exceeds ``gigabytes``: the least recently used first."""
    try:
        yield
    finally:
        if is_first() and TRUNK_CACHE.is_dir():
            for path in TRUNK_CACHE.glob("*.values"):
                if not _seal(path).exists():
                    path.unlink()
            kept = _by_last_use()
            while kept and sum(path.stat().st_size for path in kept) > gigabytes * 1e9:
                _remove(kept.pop(0))
            with suppress(OSError):  # It holds something.
                TRUNK_CACHE.rmdir()


def _make_files(lacking: Sequence[Wanted], needed: set[Path], purpose: str) -> None:
    """Make the files, and take their room on the disk now: running out of it later would kill the process.

    Arrays that this training does not need give way.
    """
    TRUNK_CACHE.mkdir(exist_ok=True)
    size = sum(item.size for item in lacking)
    others = [path for path in _by_last_use() if path not in needed]
    while others and free_space(TRUNK_CACHE) < size * 1.1:
        _remove(others.pop(0))
    require_free_space(TRUNK_CACHE, size, purpose, REMEDY)
    try:
        for item in lacking:
            _remove(item.path)
            reserve(item.path, item.size)
    except OSError as error:
        raise AtlasError(f"no room for {purpose} in {TRUNK_CACHE} ({error.strerror}): {REMEDY}") from None


def _is_whole(item: Wanted) -> bool:
    """Whether the file is there as it was written; it counts as used now."""
    seal = _seal(item.path)
    if not seal.exists():
        return False
    try:
        whole = (
            item.path.stat().st_size == item.size and file_hash(item.path) == json.loads(seal.read_bytes())["sha256"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if whole:
        seal.touch()
    else:
        sys.stderr.write(f"warning: {item.path} is not as it was written: what it held is computed again\n")
    return whole


def _by_last_use() -> list[Path]:
    """The whole arrays' files, the one that was not used for longest first."""
    whole = [path for path in TRUNK_CACHE.glob("*.values") if _seal(path).exists()]
    return sorted(whole, key=lambda path: (_seal(path).stat().st_mtime_ns, path.name))


def _seal(path: Path) -> Path:
    return path.with_suffix(".json")


def _remove(path: Path) -> None:
    _seal(path).unlink(missing_ok=True)  # First: an array without it is not whole.
    path.unlink(missing_ok=True)
