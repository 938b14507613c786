"""How many threads a captioner's short steps are worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SMALL_NETWORK = 2_000_000
"""Parameters up to which a step is so short that threads of the CPU cost more than they bring."""


@contextmanager
def threads_for(network: nn.Module) -> Iterator[None]:
    """Let a small network work on one thread of the CPU, and put the number of threads back.

    Threads meet after every operation. In a short step they gain nothing, and beside a busy process each meeting waits
    for the thread that was interrupted. One thread gives the same bits whatever the number of cores, too.
    """
    before = torch.get_num_threads()
    if sum(parameter.numel() for parameter in network.parameters()) <= SMALL_NETWORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
