"""Several processes that train one model together, as torchrun starts them; with one process this does nothing."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, TypeVar

import torch
from torch import distributed
from tqdm import tqdm

from vit_atlas.errors import AtlasError

T = TypeVar("T")
R = TypeVar("R")

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def count() -> int:
    """How many processes work together, on all machines."""
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


def batches(total: int, size: int) -> list[range]:
    """This process's batches of ``total`` items, of which :func:`shared` gives each process one in turn."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)][rank() :: count()]


def shared(work: Callable[[Sequence[T]], R], items: Sequence[T], size: int, title: str) -> Iterator[R]:
    """Call ``work`` with every ``size`` items, and yield the results in order, with a progress bar named ``title``.

    The processes take a batch each, in turn, and all get all results. Batches are those of one process, since sums over
    other ones are rounded differently. No more results are held at a time than there are processes.
    """
    own = iter(batches(len(items), size))
    with tqdm(total=len(items), desc=title, unit="photo", disable=not is_first()) as bar:
        for start in range(0, len(items), size * count()):
            made = [work(items[batch.start : batch.stop]) for batch in islice(own, 1)]
            yield from _gathered(made)
            bar.update(min(size * count(), len(items) - start))


def _gathered(values: list[T]) -> list[T]:
    """The values of all processes, those of the first one first."""
    if count() == 1:
        return values
    boxes: list[Any] = [None] * count()
    distributed.all_gather_object(boxes, values)
    return [value for box in boxes for value in box]
