"""Several processes that train one model together, as torchrun starts them; with one process this does nothing."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import distributed
from torch.utils.data import Dataset, Sampler

from vit_atlas.errors import AtlasError
from vit_atlas.training.datasets import Draw, EpochSampler

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
IGNORED = -100
"""Label of a photo that is there to keep a process busy and does not count; cross-entropy leaves it out."""


def count() -> int:
    """How many processes train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that writes files and talks to MLflow."""
    return rank() == 0


def launch(script: str, processes: int | Literal["auto"], *arguments: str) -> bool:
    """Start ``script`` in several processes of this machine and wait for them, where that is asked for.

    Args:
        script: path of the script that is running now.
        processes: how many; `auto` is one for each GPU, and one where there is none.
        arguments: of the script.

    Returns:
        True when the others have done the work; False when this process is to do it, because one is enough or because
        torchrun started this one.

    Raises:
        AtlasError: one of them failed; it has said why.
    """
    wanted = max(1, torch.cuda.device_count()) if processes == "auto" else processes
    if wanted == 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        return False
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // wanted)))
    sys.stdout.flush()
    try:
        run.run(run.parse_args(["--standalone", f"--nproc-per-node={wanted}", script, *arguments]))
    except ChildFailedError:
        raise AtlasError(f"one of the {wanted} processes of {script} failed, and said why above") from None
    return True


@contextmanager
def joined() -> Iterator[None]:
    """Bring the processes together for as long as the block runs: gloo between CPUs, NCCL between GPUs."""
    if count() == 1:
        yield
        return
    _die_with_parent()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group()
    yield
    # Not after an exception: the others may be waiting for this process, and torchrun ends them.
    wait_for_all()
    distributed.destroy_process_group()


def _die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it is killed; torchrun's would go on without it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if count() > 1:
        distributed.barrier()


def from_first(make: Callable[[], T]) -> T:
    """Call ``make`` in the first process, and give its result to all."""
    if count() == 1:
        return make()
    box = [make() if is_first() else None]
    distributed.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]


def share_of(total: int) -> range:
    """This process's part of ``total`` items, one after the other; the parts differ by one item at most."""
    return range(total * rank() // count(), total * (rank() + 1) // count())


def batch_share(batch_size: int) -> int:
    """Photos of a training step's batch that each process takes.

    Raises:
        AtlasError: the processes cannot share the batch evenly.
    """
    if batch_size % count():
        raise AtlasError(
            f"finetune.batch_size is {batch_size}, which {count()} processes cannot share evenly: "
            f"make it a multiple of {count()}, or train with another number of processes"
        )
    return batch_size // count()


class SharedBatches(Sampler[list[Draw]]):
    """This process's part of every batch that one process alone would see, so that together they see the same photos.

    Where the last batch has fewer photos than there are processes, those without one take the batch's first photo with
    its index turned negative: :class:`Uncounted` keeps it out of the loss.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int) -> None:
        self._sampler = sampler
        self._batch_size = batch_size
        self.batch_size = batch_share(batch_size)
        self.drop_last = False

    def __len__(self) -> int:
        return -(-len(self._sampler) // self._batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        draws = list(self._sampler)
        for start in range(0, len(draws), self._batch_size):
            batch = draws[start : start + self._batch_size]
            view, index = batch[0]
            yield batch[rank() :: count()] or [(view, -1 - index)]


class Uncounted(Dataset):
    """Photos of which those with a negative index, -1 - index, have the label :data:`IGNORED`."""

    def __init__(self, photos: Dataset) -> None:
        self._photos = photos

    def __len__(self) -> int:
        return len(self._photos)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw) -> dict[str, object]:
        view, index = draw
        if index >= 0:
            return self._photos[draw]
        return self._photos[view, -1 - index] | {"labels": IGNORED}
