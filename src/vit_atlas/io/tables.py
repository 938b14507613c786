"""Tables that people make: any separator, encoding and line end, and every value the text that stands in the file."""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from vit_atlas.errors import AtlasError

SEPARATORS = (",", ";", "\t", "|")

LARGEST_TABLE = 2**30
"""Bytes above which a file is no table of labels or captions."""

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Table:
    """Rows of a table by the meaning of its columns."""

    rows: tuple[tuple[int, Mapping[str, str]], ...]
    """Line number (from 1; of a Parquet file, row) and values by meaning, trimmed; empty where a cell is missing."""
    columns: Mapping[str, str]
    """The table's own name of each column that was found, by meaning."""
    encoding: str
    """Such as `utf-8`; `cp1252` where the bytes are no UTF-8, which is a guess."""


def read_table(path: Path, columns: Mapping[str, Sequence[str]], required: Sequence[str]) -> Table:
    """Read a CSV, TSV or Parquet file.

    Args:
        path: the file; its suffix decides between Parquet and text.
        columns: names that a column of each meaning may have, the best first; letter case, spaces and hyphens in the
            file's header do not matter.
        required: meanings that must be there.

    Raises:
        AtlasError: the file is no table, is in an unknown encoding, lacks a required column or has several for one
            meaning, or lines do not fit its header.
    """
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, columns, required)
    text, encoding = read_text(path)
    lines = io.StringIO(text, newline="")
    header, separator = _header(path, lines, columns, required)
    places = _places(path, header, columns, required)
    rows, wrong = [], []
    try:
        for number, cells in _records(lines, separator):
            if any(cell.strip() for cell in cells[len(header) :]):
                wrong.append(number)
            values = {meaning: cells[place].strip() if place < len(cells) else "" for meaning, place in places.items()}
            rows.append((number, values))
    except csv.Error as error:
        raise AtlasError(f"{path} is not a readable table after line {rows[-1][0] if rows else 1} ({error})") from None
    if wrong:
        shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
        raise AtlasError(
            f"{path}: {len(wrong)} lines have more cells than its header ({shown}): put cells that hold "
            f"{separator!r} in double quotes"
        )
    return Table(tuple(rows), {meaning: header[place].strip() for meaning, place in places.items()}, encoding)


def read_text(path: Path) -> tuple[str, str]:
    """Decode a text file: by its byte order mark, as UTF-8, as UTF-16 without a mark, else as Windows-1252.

    Returns:
        The text without the mark, line ends as they are; and the encoding.

    Raises:
        AtlasError: the file cannot be read, is too large, or is in none of these encodings.
    """
    data = _bytes(path)
    encodings = [encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)][:1] or _likely(data)
    for encoding in encodings:
        try:
            return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
        except UnicodeDecodeError:
            continue
    raise AtlasError(f"{path} is text in an unknown encoding, or no text at all: save it as UTF-8")


def _bytes(path: Path) -> bytes:
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode):
            raise AtlasError(f"{path} is not a file: expected a table")
        if found.st_size > LARGEST_TABLE:
            raise AtlasError(f"{path} has {found.st_size / 1e9:.1f} GB: expected a table of at most 1 GB")
        return path.read_bytes()
    except OSError as error:
        raise AtlasError(f"{path} cannot be read ({error.strerror or error})") from None


def _likely(data: bytes) -> tuple[str, ...]:
    """Encodings to try, the likely one first. UTF-16 shows by the zeros in every other byte of its separators."""
    if b"\0" not in data:
        return ("utf-8", "cp1252")
    return ("utf-16-le",) if data[1::2].count(0) > data[::2].count(0) else ("utf-16-be",)


def _header(
    path: Path, lines: io.StringIO, columns: Mapping[str, Sequence[str]], required: Sequence[str]
) -> tuple[list[str], str]:
    """Read the header and find the separator with which it names the required columns."""
    first = next((line for line in lines if line.strip()), "").strip("\r\n")
    if first.lower().startswith("sep=") and len(first) == 5:  # what Excel writes above a table
        first = next(lines, "").strip("\r\n")
    best: tuple[int, list[str], str] = (-1, [], ",")
    for separator in SEPARATORS:
        header = next(csv.reader([first], delimiter=separator), [])
        names = {_plain(name) for name in header}
        score = sum(bool(names & set(columns[meaning])) for meaning in required)
        best = max(best, (score, header, separator), key=lambda item: item[0])
    if best[0] < len(required):
        expected = " and ".join(f"`{meaning}`" for meaning in required)
        raise AtlasError(f"{path}: expected a header with the columns {expected}, found {first[:100]!r}")
    return best[1], best[2]


def _places(
    path: Path, header: Sequence[str], columns: Mapping[str, Sequence[str]], required: Sequence[str]
) -> dict[str, int]:
    """Find the column of each meaning.

    Raises:
        AtlasError: a required one is missing, or two columns would do and neither has the first of the names.
    """
    plain = [_plain(name) for name in header]
    places: dict[str, int] = {}
    for meaning, names in columns.items():
        fitting = [place for place, name in enumerate(plain) if name in names]
        best = [place for place in fitting if plain[place] == names[0]] or fitting
        if len(best) > 1:
            shown = ", ".join(f"`{header[place].strip()}`" for place in best)
            raise AtlasError(f"{path} has several columns for the {meaning} ({shown}): call one of them `{names[0]}`")
        if best:
            places[meaning] = best[0]
        elif meaning in required:
            shown = ", ".join(f"`{name.strip()}`" for name in header)
            raise AtlasError(f"{path} lacks the column `{meaning}`: its columns are {shown}")
    return places


def _records(lines: io.StringIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each record ends, and its cells; empty lines are passed over. The header has one line."""
    before = lines.tell()
    header_lines = lines.getvalue()[:before].count("\n") or 1
    reader = csv.reader(lines, delimiter=separator, strict=True)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield header_lines + reader.line_num, cells


def _read_parquet(path: Path, columns: Mapping[str, Sequence[str]], required: Sequence[str]) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import parquet

    _bytes(path)
    try:
        content = parquet.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise AtlasError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0][:120]})") from None
    places = _places(path, content.column_names, columns, required)
    values = {}
    for meaning, place in places.items():
        name = content.column_names[place]
        try:
            values[meaning] = ["" if value is None else str(value).strip() for value in _texts(content.column(place))]
        except (pa.ArrowException, UnicodeDecodeError):
            kind = content.schema.field(place).type
            raise AtlasError(f"{path}: the column `{name}` holds {kind}, expected text or whole numbers") from None
    rows = (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True))
    names = {meaning: content.column_names[place] for meaning, place in places.items()}
    return Table(tuple(enumerate(rows, start=1)), names, "parquet")


def _texts(column: Any) -> list[str | None]:
    """A Parquet column as text; whole numbers that missing values made floats are whole again."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.int64())
    return column.cast(pa.string()).to_pylist()


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").split())
