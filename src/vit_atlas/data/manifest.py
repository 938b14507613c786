"""The manifest: one row a photo, written by prepare and read by every later stage."""

import json
from pathlib import Path

import pandas as pd

from vit_atlas.errors import AtlasError
from vit_atlas.files import atomic_file
from vit_atlas.paths import CLASSES, MANIFEST

COLUMNS = (
    "image_id",
    "path",
    "split",
    "label",
    "class_name",
    "width",
    "height",
    "mask",
    "mask_kind",
    "sha256",
    "conversions",
)
"""Columns of the manifest. ``image_id`` is the path relative to data/classification, ``path`` and ``mask`` are
relative to the project's root, ``width`` and ``height`` are in pixels after EXIF rotation."""

INTEGER_COLUMNS = ("label", "width", "height")


def read_manifest(path: str | Path = MANIFEST) -> pd.DataFrame:
    """Read the manifest: text columns as str (empty text, never NaN), ``label``, ``width`` and ``height`` as int.

    Raises:
        AtlasError: the file is missing or lacks columns.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro prepare` first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AtlasError(f"{path} is not a readable table ({error}): delete it and run `dvc repro prepare`") from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise AtlasError(f"{path} lacks the columns {', '.join(missing)}: delete it and run `dvc repro prepare`")
    return frame.astype(dict.fromkeys(INTEGER_COLUMNS, int))


def write_manifest(frame: pd.DataFrame, path: str | Path = MANIFEST) -> None:
    """Write ``frame`` atomically with the columns of the contract, in their order."""
    with atomic_file(path) as temporary:
        frame.to_csv(temporary, columns=list(COLUMNS), index=False, lineterminator="\n", encoding="utf-8")


def read_classes(path: str | Path = CLASSES) -> list[str]:
    """Read the class names; the index of a name is its label.

    Raises:
        AtlasError: the file is missing or is not a list of names.
    """
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro prepare` first") from None
    except json.JSONDecodeError as error:
        raise AtlasError(f"{path} is not valid JSON ({error}): delete it and run `dvc repro prepare`") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AtlasError(f"{path} must be a JSON list of class names: delete it and run `dvc repro prepare`")
    return names
