"""The project's own tables as CSV: one way to write them, one to read them, and names stay the text that they are."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_file


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table atomically, with a header and without the index; equal tables give equal bytes."""
    with atomic_file(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def read_csv(path: str | Path, stage: str, texts: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table that :func:`write_csv` wrote.

    Args:
        path: of the file.
        stage: the stage that writes it, for the message where it is missing.
        texts: columns of names, which stay text: `001`, `NA`, `true` and the empty text too. In the other columns an
            empty cell is NaN.

    Raises:
        AtlasError: the file is missing, is no table, or lacks one of ``texts``.
    """
    names = dict.fromkeys(texts, str)
    try:
        header = pd.read_csv(path, nrows=0).columns
        numbers = {name: [""] for name in header if name not in names}
        frame = pd.read_csv(path, dtype=names, keep_default_na=False, na_values=numbers, encoding="utf-8")
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro {stage}` first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise AtlasError(f"{path} is not a readable table ({error}): run `dvc repro --force {stage}`") from None
    missing = [name for name in texts if name not in frame.columns]
    if missing:
        raise AtlasError(f"{path} lacks the columns {', '.join(missing)}: run `dvc repro --force {stage}`")
    return frame
