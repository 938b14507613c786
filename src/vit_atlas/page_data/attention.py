"""What the atlas page needs to let a reader point at any patch: all attention of the drawn photos, packed.

``explorer.npz`` holds, for P photos, L layers, H heads and S special tokens (the class token first):

- ``special`` (P, L, H, S, rows, columns): where each special token looks, in every head;
- ``patches`` (P, L, cells, cells): where every patch looks, mean over heads, in every layer;
- ``heads`` (P, H, cells, cells): where every patch looks, head by head, in the chosen layer.

Each is in the codes of :func:`vit_atlas.io.arrays.pack_maps`, with its peaks under ``<name>_peaks``: shares of
the looking token's attention, special tokens included. A cell is a patch; of grids so large that a page could not hold
them, a block of ``cell`` x ``cell`` patches, whose attention is added up. ``explorer.json`` says what the axes are, and
``photos/`` holds thumbnails.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vit_atlas.attention.maps import LABELS
from vit_atlas.attention.passes import Look
from vit_atlas.attention.pictures import Chosen
from vit_atlas.io.arrays import pack_maps, write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.geometry import Size, TokenLayout
from vit_atlas.page_data.thumbnails import outline, save_thumbnail

Array = np.ndarray

MOST = 2_400_000
"""Bytes a photo may take; larger grids are put together in cells."""

LIKELY = 3
"""Classes told of each photo, the most likely ones."""


@dataclass
class Explorer:
    """Gathers the drawn photos one after the other, and writes them."""

    classifier: Classifier
    layer: int
    """Layer whose heads are kept for every patch; negative counts from the last."""
    photos: list[dict[str, Any]] = field(default_factory=list)
    thumbnails: list[Chosen] = field(default_factory=list)
    parts: list[dict[str, Array]] = field(default_factory=list)

    def add(self, chosen: Chosen) -> None:
        """Take in one photo and the pass over it."""
        self.parts.append(pack_look(chosen.seen, self.layer))
        probabilities = torch.softmax(chosen.seen.logits[0], dim=-1).cpu().numpy()
        likely = np.argsort(-probabilities, kind="stable")[:LIKELY]
        self.photos.append(
            {
                "image_id": chosen.image_id,
                "name": chosen.guess.name,
                "truth": chosen.guess.truth,
                "guess": chosen.guess.guess,
                "likely": [[self.classifier.id2label[int(label)], float(probabilities[label])] for label in likely],
                "width": chosen.photo.width,
                "height": chosen.photo.height,
                "photo": f"photos/{chosen.stem}.jpg",
                "outline": None if chosen.mask is None else outline(chosen.mask),
            }
        )
        self.thumbnails.append(chosen)

    def save(self, folder: Path, methods: Sequence[str]) -> None:
        """Write ``explorer.npz``, ``explorer.json`` and ``photos/`` into ``folder``; ``methods`` were drawn."""
        layout = self.classifier.layout
        layers, heads = self.parts[0]["special_peaks"].shape[:2]
        cell = cell_side(layout.grid, layers + heads)
        for chosen in self.thumbnails:
            save_thumbnail(chosen.photo, folder / "photos" / f"{chosen.stem}.jpg")
        write_arrays(
            folder / "explorer.npz", {name: np.stack([part[name] for part in self.parts]) for name in self.parts[0]}
        )
        content = {
            "photos": self.photos,
            "methods": {name: LABELS[name] for name in methods},
            "special": special_names(self.classifier.model.config, layout),
            "layers": layers,
            "heads": heads,
            "layer": self.layer % layers,
            "grid": list(layout.grid),
            "cell": cell,
            "cells": [math.ceil(side / cell) for side in layout.grid],
        }
        write_json(folder / "explorer.json", content)


def pack_look(seen: Look, layer: int) -> dict[str, Array]:
    """Pack the attention of one photo (a pass over a batch of one); see the module for names and shapes."""
    special, patches = [], []
    heads = np.empty(0)
    count = len(seen.records)
    cell = cell_side(seen.layout.grid, count + seen.records[0].query.shape[1])
    prefix = seen.layout.prefix_tokens
    for index, record in enumerate(seen.records):
        special.append(seen.on_grid(record.rows(range(prefix)))[0].detach().cpu().numpy())
        mean = record.head_mean()[0, prefix:, prefix:].detach().cpu().numpy()
        patches.append(to_cells(mean, seen.layout.grid, cell))
        if index == layer % count:
            rows = record.rows()[0, :, prefix:, prefix:].detach().cpu().numpy()
            heads = np.stack([to_cells(one, seen.layout.grid, cell) for one in rows])
    packed: dict[str, Array] = {}
    for name, values, axes in (
        ("special", np.stack(special), 2),
        ("patches", np.stack(patches), 1),
        ("heads", heads, 1),
    ):
        packed[name], packed[f"{name}_peaks"] = pack_maps(values, axes)
    return packed


def cell_side(grid: Size, maps: int) -> int:
    """Patches a side of a cell: the fewest with which ``maps`` maps of all cells to all cells fit :data:`MOST`."""
    cell = 1
    while maps * math.prod(math.ceil(side / cell) for side in grid) ** 2 > MOST:
        cell += 1
    return cell


def to_cells(attention: Array, grid: Size, cell: int) -> Array:
    """Attention between patches (patches, patches) as attention between cells (cells, cells).

    What the patches of a cell look at is averaged, what is looked at in a cell is added up, so that rows keep their
    sums. Cells at the right and lower edge may be smaller.
    """
    if cell == 1:
        return attention
    rows, columns = grid
    values = attention.reshape(rows, columns, rows, columns)
    for axis, side in enumerate((rows, columns, rows, columns)):
        starts = np.arange(0, side, cell)
        values = np.add.reduceat(values, starts, axis=axis)
        if axis < 2:
            sizes = np.diff(np.append(starts, side))
            values = values / sizes.reshape([-1 if axis == place else 1 for place in range(4)])
    cells = values.shape[0] * values.shape[1]
    return values.reshape(cells, cells)


def special_names(config: Any, layout: TokenLayout) -> list[str]:
    """What the tokens before the first patch are."""
    names = ["class token"]
    if config.model_type == "deit":
        names.append("distillation token")
    return names + [f"register {number + 1}" for number in range(layout.prefix_tokens - len(names))]
