"""What the atlas page needs to let a reader point at any patch: all attention of the drawn photos, packed.

``explorer.npz`` holds, for P photos, L layers, H heads and S starting points (what the head reads first, then
the special tokens):

- ``special`` (P, L, H, S, rows, columns): where each special token looks, in every head;
- ``patches`` (P, L, cells, cells): where every patch looks, mean over heads, in every layer;
- ``heads`` (P, H, cells, cells): where every patch looks, head by head, in the chosen layer;
- ``colours`` (P, rows, columns, 3): patch tokens as colours (:mod:`vit_atlas.attention.token_colours`), as they are.

The first three are in the codes of :func:`vit_atlas.io.arrays.pack_maps`, with their peaks under ``<name>_peaks``:
shares of the looking token's attention, special tokens included. A cell is a patch; of grids so large that a page could
not hold them, a block of ``cell`` x ``cell`` patches, whose attention is added up. ``explorer.json`` says what the axes
are, and ``photos/`` holds thumbnails.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from vit_atlas.attention.methods import METHODS
from vit_atlas.attention.passes import Pass
from vit_atlas.data.manifest import Photo
from vit_atlas.io.arrays import pack_maps, write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.geometry import Size, TokenLayout
from vit_atlas.models.readout import Readout
from vit_atlas.page_data.thumbnails import outline, save_thumbnail

Array = np.ndarray

MOST = 2_400_000
"""Bytes a photo may take; larger grids are put together in cells."""

TOP_K = 3
"""Classes told of each photo, the most likely ones."""

Packed = Mapping[str, Array]
"""What :func:`pack_pass` gives."""


class AttentionPage:
    """Gathers what the page needs of the drawn photos: packed attention, and thumbnails that are written at once."""

    def __init__(self, classifier: Classifier, layer: int, folder: Path) -> None:
        """Begin with no photo.

        Args:
            classifier: the model, for its classes and tokens.
            layer: layer whose heads are kept for every patch; negative counts from the last.
            folder: where the files go.
        """
        self._classifier = classifier
        self._layer = layer
        self._folder = folder
        self._photos: list[dict[str, Any]] = []
        self._parts: list[Mapping[str, Array]] = []

    def add(
        self, photo: Photo, stem: str, image: Image.Image, mask: Array | None, probabilities: Array, packed: Packed
    ) -> None:
        """Take in one photo: its picture and outline, the likeliest classes, and its attention."""
        names = self._classifier.id2label
        likely = np.argsort(-probabilities, kind="stable")[:TOP_K]
        self._photos.append(
            {
                "image_id": photo.image_id,
                "name": PurePath(photo.path).name,
                "truth": photo.class_name,
                "guess": names[int(likely[0])],
                "likely": [[names[int(label)], float(probabilities[label])] for label in likely],
                "width": image.width,
                "height": image.height,
                "photo": f"photos/{stem}.jpg",
                "outline": None if mask is None else outline(mask),
            }
        )
        self._parts.append(packed)
        save_thumbnail(image, self._folder / "photos" / f"{stem}.jpg")

    def save(self, methods: Sequence[str], colours: Array) -> None:
        """Write ``explorer.npz`` and ``explorer.json``; ``methods`` were drawn, ``colours`` are those of all photos."""
        layout = self._classifier.layout
        layers, heads = self._parts[0]["special_peaks"].shape[:2]
        cell = cell_side(layout.grid, layers + heads)
        arrays = {name: np.stack([part[name] for part in self._parts]) for name in self._parts[0]}
        write_arrays(self._folder / "explorer.npz", arrays | {"colours": colours})
        content = {
            "photos": self._photos,
            "methods": {name: METHODS[name].label for name in methods},
            "special": special_names(self._classifier.model.config, layout, self._classifier.readout),
            "layers": layers,
            "heads": heads,
            "layer": self._layer % layers,
            "grid": list(layout.grid),
            "cell": cell,
            "cells": [math.ceil(side / cell) for side in layout.grid],
        }
        write_json(self._folder / "explorer.json", content)


def pack_pass(trace: Pass, layer: int) -> dict[str, Array]:
    """Pack the attention of one photo (a pass over a batch of one); see the module for names and shapes."""
    special, patches = [], []
    heads = np.empty(0)
    count = len(trace.records)
    cell = cell_side(trace.layout.grid, count + trace.records[0].query.shape[1])
    prefix = trace.layout.prefix_tokens
    for index, record in enumerate(trace.records):
        tokens = trace.on_grid(record.rows(range(prefix)))[0].detach().cpu().numpy()
        if trace.readout.token != 0:
            read = trace.block_rows(index)[0, :, None].detach().cpu().numpy()
            tokens = np.concatenate([read, tokens], axis=1)
        special.append(tokens)
        mean = record.head_mean()[0, prefix:, prefix:].detach().cpu().numpy()
        patches.append(to_cells(mean, trace.layout.grid, cell))
        if index == layer % count:
            rows = record.rows()[0, :, prefix:, prefix:].detach().cpu().numpy()
            heads = np.stack([to_cells(one, trace.layout.grid, cell) for one in rows])
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


def special_names(config: Any, layout: TokenLayout, readout: Readout) -> list[str]:
    """What the map can start from: what the head reads, then the tokens before the first patch."""
    names = ["class token"] if layout.prefix_tokens else []
    if config.model_type == "deit":
        names.append("distillation token")
    names += [f"register {number + 1}" for number in range(layout.prefix_tokens - len(names))]
    if readout.token == 0:
        return names
    if readout.ignores_class_token:
        names[0] += " (not read by the head)"
    return [f"{readout.kind} (what the head reads)", *names]
