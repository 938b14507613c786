"""Which cut-outs the sample uses, for which class and split, and what a sentence calls them.

``stamps.csv`` beside this file has one row a cut-out:

- ``path``, ``sha256``: the PNG in the stamps folder and the hash of its bytes;
- ``category``, ``use``: its class and the split it belongs to; near copies (mirrored, recoloured, the same animal
  twice) share a split. Both empty where the cut-out serves in scenes only;
- ``noun``, ``colour``, ``scenes``: what a sentence calls it, its colour where one colour is plainly true, and whether
  scenes of `train`, `test` or `any` split show it. Empty where it serves in classification only.

All are photographs but the class `house`: the stamps have no photograph of a house, so that class uses the shaded
drawings.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STAMPS_TABLE = Path(__file__).with_name("stamps.csv")


@dataclass(frozen=True)
class Stamp:
    """One row of the table of cut-outs."""

    path: str
    sha256: str
    category: str
    use: str
    noun: str
    colour: str
    scenes: str


@cache
def stamps() -> tuple[Stamp, ...]:
    """All cut-outs of the sample, sorted by path."""
    return read_stamps(STAMPS_TABLE)


def read_stamps(table: Path) -> tuple[Stamp, ...]:
    """Read a table of cut-outs from ``table``."""
    with table.open(encoding="utf-8", newline="") as handle:
        return tuple(Stamp(**row) for row in csv.DictReader(handle))
