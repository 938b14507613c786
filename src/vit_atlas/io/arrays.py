"""Maps small enough for a page: one byte a value, in files whose bytes depend on the maps alone.

A map is stored as ``round(LEVELS * sqrt(value / peak))`` beside its own peak. Attention falls off fast, so the square
root spends the levels where the eye looks: a value is off by at most 1/63 of the peak and the small ones by far less.
Fewer levels than a byte has leave the entropy to the compressor, which halves the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file

Array = np.ndarray

LEVELS = 63
"""Highest code of a map."""

COSINE_LEVELS = 127
"""Codes of a cosine similarity are 0 for -1, this for 0 and twice this for 1."""


def pack_maps(values: Array, axes: int = 2) -> tuple[Array, Array]:
    """Quantise maps that lie along the last ``axes`` axes of ``values``, none negative.

    Returns:
        Codes, uint8 of the same shape, 0 to :data:`LEVELS`; and every map's highest value, float32 of the shape without
        the last ``axes`` axes. A map of zeros has codes and peak 0.
    """
    inner = tuple(range(values.ndim - axes, values.ndim))
    peaks = values.max(axis=inner, keepdims=True)
    shares = np.divide(values, peaks, out=np.zeros_like(values, dtype=np.float64), where=peaks > 0)
    codes = np.rint(LEVELS * np.sqrt(shares)).astype(np.uint8)
    return codes, peaks.reshape(values.shape[: values.ndim - axes]).astype(np.float32)


def unpack_maps(codes: Array, peaks: Array) -> Array:
    """Bring :func:`pack_maps`' maps back, float64."""
    scale = peaks.reshape(peaks.shape + (1,) * (codes.ndim - peaks.ndim)).astype(np.float64)
    return (codes / LEVELS) ** 2 * scale


def pack_cosines(values: Array) -> Array:
    """Quantise cosine similarities, -1 to 1, linearly to uint8."""
    return np.rint((np.clip(values, -1, 1) + 1) * COSINE_LEVELS).astype(np.uint8)


def write_arrays(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write ``arrays`` as a compressed .npz, atomically; equal arrays give equal bytes."""
    content: dict[str, Any] = dict(arrays)
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **content)


def read_arrays(path: str | Path, stage: str) -> dict[str, Array]:
    """Read all arrays of a file that :func:`write_arrays` wrote.

    Raises:
        AtlasError: the file is missing or broken; the message names the ``stage`` that writes it.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro {stage}` first") from None
    except Exception as error:
        # A broken archive raises whatever zipfile, zlib or NumPy tripped over.
        raise AtlasError(f"{path} cannot be read ({error}): run `dvc repro --force {stage}`") from None
