import math
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Folder with the outputs of the original CATR code."""
    folder = Path(os.environ.get("VIT_ATLAS_VECTORS", ROOT.parent / "shared" / "vectors"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: set VIT_ATLAS_VECTORS")
    return folder


@pytest.fixture(scope="session")
def filled_state():
    """Makes a state dict with weights by formula, as the vectors' README describes it."""

    def make(shapes: dict[str, list[int]], phase: float = 0.0) -> dict[str, Tensor]:
        state = {}
        for index, name in enumerate(sorted(shapes)):
            shape = shapes[name]
            count = math.prod(shape)
            wave = torch.sin(0.37 * torch.arange(count, dtype=torch.float64) + index + phase)
            if len(shape) >= 2:
                wave = wave / math.sqrt(count / shape[0])
            elif name.endswith(("weight", "running_var")):
                wave = 1 + 0.1 * wave
            else:
                wave = 0.1 * wave
            state[name] = wave.reshape(shape).float()
        return state

    return make
