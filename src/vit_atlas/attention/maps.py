"""The map methods by name, and the maps of a batch of photos by all of them at once."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vit_atlas.attention import methods
from vit_atlas.attention.gradcam import gradcam
from vit_atlas.attention.passes import Look

Array = np.ndarray

LEARNED = {
    "head_mean": "head mean",
    "best_head": "best head",
    "head_max": "head max",
    "rollout": "rollout",
    "rollout_discard": "rollout, discard",
    "relevance": "gradient x attention",
    "legrad": "LeGrad",
    "gradcam": "Grad-CAM",
}
"""Methods that ask the model, and how figures call them."""

BASELINES = {"gaussian": "centre Gaussian", "random": "random", "uniform": "uniform"}
"""Maps that know nothing of the photo."""

LABELS = {**LEARNED, **BASELINES}

DISCARD = 0.9
"""Share of weights that ``rollout_discard`` drops in each layer (Gildenblat's default)."""

LEGRAD_LAYERS = 2
"""Layers that ``legrad`` reads, counted from the last: what the authors' own package (legrad_torch 1.1) does."""

GAUSSIAN_WIDTH = 0.25
"""Standard deviation of the centre Gaussian over the photo's side."""


@dataclass(frozen=True)
class MapOptions:
    """What the methods need besides the pass."""

    layer: int = -1
    """Layer of the methods that read one layer."""
    head: int | None = None
    """Head of ``best_head``, chosen on the validation split; None leaves that map out."""
    seed: int = 0
    """Seed of the random maps."""


def make_maps(look: Look, image_ids: Sequence[str], names: Sequence[str], options: MapOptions) -> dict[str, Array]:
    """Maps of every method in ``names``: name -> float32 (B, rows, columns).

    Args:
        look: the pass over the photos, with gradients and token states where a method needs them.
        image_ids: the photos' names, which the random maps depend on.
        names: keys of :data:`LABELS`; ``best_head`` is left out while ``options.head`` is None.
        options: layer, head and seed.
    """
    asked: dict[str, Callable[[], Tensor]] = {
        "head_mean": lambda: methods.head_mean(look, options.layer),
        "best_head": lambda: methods.single_head(look, options.head or 0, options.layer),
        "head_max": lambda: methods.head_max(look, options.layer),
        "rollout": lambda: methods.rollout(look),
        "rollout_discard": lambda: methods.rollout(look, DISCARD),
        "relevance": lambda: methods.relevance(look),
        "legrad": lambda: methods.legrad(look, LEGRAD_LAYERS),
        "gradcam": lambda: gradcam(look),
        "gaussian": lambda: _repeated(look, centre_gaussian(*look.layout.grid)),
        "random": lambda: torch.stack([random_map(*look.layout.grid, name, options.seed) for name in image_ids]),
        "uniform": lambda: _repeated(look, torch.ones(look.layout.grid)),
    }
    wanted = [name for name in names if name != "best_head" or options.head is not None]
    return {name: asked[name]().detach().cpu().numpy().astype(np.float32) for name in wanted}


def needs_gradients(names: Sequence[str]) -> bool:
    """Whether a method among ``names`` needs a backward pass."""
    return bool({"relevance", "legrad"} & set(names))


def centre_gaussian(rows: int, columns: int) -> Tensor:
    """A Gaussian at the photo's centre (rows, columns): what a photographer's habit alone would point at."""
    y = (torch.arange(rows) + 0.5) / rows - 0.5
    x = (torch.arange(columns) + 0.5) / columns - 0.5
    return torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * GAUSSIAN_WIDTH**2))


def random_map(rows: int, columns: int, image_id: str, seed: int) -> Tensor:
    """Uniform noise (rows, columns) that depends on the seed and the photo's name only."""
    digest = hashlib.sha256(f"{seed}/{image_id}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return torch.from_numpy(generator.random((rows, columns), dtype=np.float32))


def _repeated(look: Look, values: Tensor) -> Tensor:
    return values.expand(look.pixels.shape[0], *values.shape)
