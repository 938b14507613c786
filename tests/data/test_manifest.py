"""The manifest reads back as it was written, and says what to do where it is missing."""

from pathlib import Path

import pandas as pd
import pytest

from vit_atlas.data.manifest import COLUMNS, Manifest, read_classes
from vit_atlas.errors import AtlasError


def test_text_stays_text_and_empty_stays_empty(tmp_path: Path) -> None:
    row = ("NA/1.jpg", "data/NA/1.jpg", "train", 3, "NA", 40, 30, "", "", "00", "")
    Manifest(pd.DataFrame([row], columns=list(COLUMNS))).write(tmp_path / "manifest.csv")
    frame = Manifest.read(tmp_path / "manifest.csv").frame
    assert frame.loc[0].to_list() == list(row)
    assert frame["class_name"].tolist() == ["NA"]
    assert frame["label"].dtype.kind == "i"


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n"])
def test_a_missing_or_foreign_manifest_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.csv").write_text(content)
    with pytest.raises(AtlasError, match=r"manifest\.csv .*dvc repro prepare"):
        Manifest.read(tmp_path / "manifest.csv")


@pytest.mark.parametrize("content", [None, "{", '{"a": 1}', "[1, 2]"])
def test_a_missing_or_foreign_class_list_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "classes.json").write_text(content)
    with pytest.raises(AtlasError, match=r"classes\.json .*dvc repro prepare"):
        read_classes(tmp_path / "classes.json")
