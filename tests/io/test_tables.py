"""Tables are read in any separator, encoding and line end, and no value is taken for anything but text."""

import codecs
import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_atlas.errors import AtlasError
from vit_atlas.io.tables import Table, read_table

COLUMNS = {"path": ("path", "file"), "label": ("label", "class"), "split": ("split",)}
WORDS = ["001", "NA", "null", "True", "1e5", "nan", "1.50", "Caf\u00e9"]


fuzz = settings(derandomize=True, database=None, deadline=None, max_examples=200)


def read(path: Path) -> Table:
    return read_table(path, COLUMNS, ("path", "label"))


def labels(table: Table) -> list[str]:
    return [values["label"] for _, values in table.rows]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_encodings_and_line_ends(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    lines = [f"path{separator}label", *(f"{i}.jpg{separator} {word} " for i, word in enumerate(WORDS)), ""]
    (tmp_path / "t.csv").write_bytes(end.join(lines).encode(encoding))
    table = read(tmp_path / "t.csv")
    assert labels(table) == WORDS
    assert table.rows[0] == (2, {"path": "0.jpg", "label": "001"})
    assert (table.encoding == "cp1252") == (encoding == "cp1252")


def test_quotes_empty_lines_missing_cells_and_the_line_of_a_row(tmp_path: Path) -> None:
    content = 'sep=,\n"Path",Class , Split\n\n"a, b.jpg","two\nlines",train,,\n"say ""x"".jpg",\u2028c\n'
    (tmp_path / "t.csv").write_bytes(content.encode())
    table = read(tmp_path / "t.csv")
    assert table.rows == (
        (5, {"path": "a, b.jpg", "label": "two\nlines", "split": "train"}),
        (6, {"path": 'say "x".jpg', "label": "c", "split": ""}),
    )
    assert table.columns == {"path": "Path", "label": "Class", "split": "Split"}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "expected a header with the columns `path` and `label`, found ''"),
        (b"1.jpg,cat\n", "expected a header with the columns `path` and `label`, found '1.jpg,cat'"),
        (b"path,label\na,b.jpg,cat\nc,d,e,f\n", r"2 lines have more cells than its header \(2, 3\)"),
        (b'path,label\na.jpg,"cat\n', r"not a readable table after line 1 \(unexpected end of data\)"),
        (b"path,label,class,path\n", r"several columns for the path \(`path`, `path`\)"),
        (b"path,label\n\x81\x8d,a\n", "unknown encoding"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "unknown encoding|expected a header"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(AtlasError, match=told) as caught:
        read(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_parquet_columns_of_any_kind_are_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"file": ["a", "b"], "label": [1.0, None], "split": pd.Categorical(["train", "test"])})
    frame.to_parquet(tmp_path / "t.parquet")
    assert [dict(values) for _, values in read(tmp_path / "t.parquet").rows] == [
        {"path": "a", "label": "1", "split": "train"},
        {"path": "b", "label": "", "split": "test"},
    ]
    pd.DataFrame({"path": ["a"], "label": [[1, 2]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(AtlasError, match="the column `label` holds list"):
        read(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(AtlasError, match="not a readable Parquet file"):
        read(tmp_path / "t.parquet")


VALUES = st.text(st.characters(codec="utf-8"), max_size=30).map(str.strip)


@fuzz
@given(
    st.lists(st.tuples(VALUES.filter(bool), VALUES), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_writer_writes_is_read_back(
    rows: list[tuple[str, str]], separator: str, encoding: str, end: str
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("path", "label"), *rows])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        content = stream.getvalue().encode(encoding)
        path.write_bytes(content)
        if encoding == "utf-8" and "\0" in stream.getvalue():
            return  # zeros without a mark count as UTF-16
        assert [tuple(values.values()) for _, values in read(path).rows] == rows


@fuzz
@given(st.binary(max_size=300), st.sampled_from([b"", b"path,label\n", b"path;label\r\n", codecs.BOM_UTF16_LE]))
def test_any_bytes_are_a_table_or_a_sentence(content: bytes, start: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(start + content)
        try:
            table = read(path)
        except AtlasError as error:
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert all(set(values) >= {"path", "label"} for _, values in table.rows)
