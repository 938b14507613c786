"""Pairs of maps of drawn photos: for the guess and for the true class, before and after fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vit_atlas.attention.contrast import difference
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import head_free
from vit_atlas.attention.passes import run_pass
from vit_atlas.errors import AtlasError
from vit_atlas.figures.attention import Guess
from vit_atlas.figures.differences import draw_difference
from vit_atlas.figures.style import save
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import Classifier
from vit_atlas.pictures.changes import Maps, pair_up

Array = np.ndarray
WHY_NOT, BEFORE_AFTER = "why_not", "before_after"
"""Folders of the pictures."""


def maps_before(
    pretrained: Classifier, image: Image.Image, name: str, methods: Sequence[str], options: MapOptions
) -> dict[str, Array]:
    """Maps of one photo before fine-tuning, by those of ``methods`` that ask the network without its head."""
    trace = run_pass(pretrained, pretrained.pixel_values([image]), gradients=False, layers=False)
    return {method: maps[0] for method, maps in make_maps(trace, [name], head_free(methods), options).items()}


def require_same_grid(pretrained: Classifier, finetuned: Classifier) -> None:
    """Check that maps before and after fine-tuning can be compared.

    Raises:
        AtlasError: the two models have other grids of patches.
    """
    before, after = pretrained.layout.grid, finetuned.layout.grid
    if before != after:
        raise AtlasError(
            f"the pretrained model has a grid of {before[0]}x{before[1]} patches and the fine-tuned one of {after[0]}x"
            f"{after[1]}: run `dvc repro finetune` with the present model settings first"
        )


@dataclass(frozen=True)
class Pairs:
    """The maps of one drawn photo beside others of it."""

    image_id: str
    guessed: Maps
    """By class-specific methods, for the guess; empty where the guess is right."""
    true: Maps
    """The same for the true class."""
    before: Maps
    """By methods that ask the network without its head, before fine-tuning."""
    after: Maps
    """The same after it."""

    def draw(self, photo: Image.Image, guess: Guess, stem: str, folder: Path) -> None:
        """Draw ``why_not/<stem>.png`` where the guess is wrong, and ``before_after/<stem>.png``, into ``folder``."""
        if self.true:
            names = f"guess: {guess.guess[:20]}", f"true: {guess.truth[:20]}", "true minus guess"
            figure = draw_difference(photo, f"{guess}: why not?", pair_up(self.guessed, self.true), names)
            save(figure, folder / WHY_NOT / f"{stem}.png")
        if self.before:
            names = "before", "after", "after minus before"
            title = f"{guess.name}: before and after fine-tuning"
            save(
                draw_difference(photo, title, pair_up(self.before, self.after), names),
                folder / BEFORE_AFTER / f"{stem}.png",
            )

    def rows(self) -> list[tuple[str, str, str, float]]:
        """``image_id``, which pair, method, and the share of the map that lies in another place."""
        pairs = ((WHY_NOT, self.guessed, self.true), (BEFORE_AFTER, self.before, self.after))
        return [
            (self.image_id, kind, name, difference(old[name], new[name])[1]) for kind, old, new in pairs for name in new
        ]


def save_pairs(pairs: Sequence[Pairs], folder: Path) -> None:
    """Write the maps that are drawn beside those of maps.npz as ``pairs.npz``, and how much they differ as a table.

    ``true`` is (wrong photos, methods, rows, columns) with ``true_photos`` and ``true_methods``, ``before`` likewise.
    """
    arrays: dict[str, Array] = {}
    for name in ("true", "before"):
        some = [(pair.image_id, getattr(pair, name)) for pair in pairs if getattr(pair, name)]
        arrays[f"{name}_photos"] = np.array([image_id for image_id, _ in some], dtype=np.str_)
        arrays[f"{name}_methods"] = np.array(list(some[0][1]) if some else [], dtype=np.str_)
        arrays[name] = np.array([list(maps.values()) for _, maps in some], dtype=np.float32)
    write_arrays(folder / "pairs.npz", arrays)
    rows = [row for pair in pairs for row in pair.rows()]
    write_csv(folder / "pairs.csv", pd.DataFrame(rows, columns=["image_id", "pair", "method", "moved"]))
