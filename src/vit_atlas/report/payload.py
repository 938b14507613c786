"""What the page's scripts read: arrays as deflated bytes in base64, and JSON that holds no NaN."""

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray


def blob(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Pack arrays into one text for a browser to inflate.

    Returns:
        ``parts``: name, ``kind`` (``u8`` or ``f32``), shape and offset in bytes of every array; ``data``: all of them
        behind each other, deflated (zlib's format), in base64. Floats come first, so that they lie on multiples of 4.
    """
    parts, pieces, offset = [], [], 0
    floats = {name: values.astype("<f4") for name, values in arrays.items() if values.dtype != np.uint8}
    for name, values in {**floats, **{name: arrays[name] for name in arrays if name not in floats}}.items():
        content = np.ascontiguousarray(values).tobytes()
        kind = "f32" if name in floats else "u8"
        parts.append({"name": name, "kind": kind, "shape": list(values.shape), "offset": offset})
        pieces.append(content)
        offset += len(content)
    return {"parts": parts, "data": base64.b64encode(zlib.compress(b"".join(pieces), 9)).decode()}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, each by column name."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def plain(value: Any) -> Any:
    """Turn ``value`` into what JSON can hold: no NumPy types, and None for what is not a finite number."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
