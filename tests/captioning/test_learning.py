"""How a captioner is trained: on how many threads of the CPU."""

import pytest
import torch
from torch import nn

from vit_atlas.captioning.model.threads import threads_for


def test_a_small_network_works_on_one_thread_and_a_large_one_on_all() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(nn.Linear(10, 10)):
            assert torch.get_num_threads() == 1
        with threads_for(nn.Linear(2000, 2000)):
            assert torch.get_num_threads() == 2
        with pytest.raises(ValueError, match="cut off"), threads_for(nn.Linear(10, 10)):
            raise ValueError("cut off")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
