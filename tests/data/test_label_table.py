"""labels.csv beside the photos says what they are; everything that does not fit is told at once."""

from pathlib import Path

import pandas as pd
import pytest

from tests.data.conftest import Draw
from vit_atlas.data.candidates import Layout
from vit_atlas.data.layouts import find_layout
from vit_atlas.errors import AtlasError


def table(photos: Path, *lines: str, name: str = "labels.csv") -> Layout:
    (photos / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return find_layout(photos)


def test_labels_splits_and_groups(photos: Path, draw: Draw) -> None:
    for name in ("x/1.jpg", "x/2.jpg", "3.jpg"):
        draw(name)
    (photos / "notes.txt").write_text("x")
    layout = table(photos, "path,label,split,group", "x/1.jpg,001,Train,g1", "x\\2.jpg,NA,dev,g1", "./3.jpg,001,TEST,")
    assert (layout.kind, layout.classes) == ("label-table", ("001", "NA"))
    assert [(item.image_id, item.class_name, item.split, item.group) for item in layout.candidates] == [
        ("3.jpg", "001", "test", ""),
        ("x/1.jpg", "001", "train", "g1"),
        ("x/2.jpg", "NA", "val", "g1"),
    ]
    assert layout.ignored == ("labels.csv", "notes.txt")
    assert (layout.rejected, layout.warnings, layout.notes) == ((), (), ())


def test_a_parquet_table_and_other_column_names(photos: Path, draw: Draw) -> None:
    for number in (1, 2):
        draw(f"{number}.jpg")
    pd.DataFrame({"image": ["1.jpg", "2.jpg"], "category": [7, 10]}).to_parquet(photos / "labels.parquet")
    layout = find_layout(photos)
    assert layout.classes == ("10", "7")
    assert layout.notes == ("labels.parquet: read the column `image` as the path, `category` as the label",)


def test_everything_that_is_wrong_is_told_at_once_counted_and_named(photos: Path, draw: Draw) -> None:
    for name in "abcdefg":
        draw(f"{name}.jpg")
    layout = table(
        photos,
        "path,label,split",
        *("a.jpg,cat,train", "a.jpg,cat,train", "b.jpg,cat,train", "b.jpg,dog,train", "c.jpg,,train"),
        *("d.jpg,dog,", "e.jpg,dog,train", "e.jpg,dog,test", "f.jpg,dog,test"),
        *(f"gone{number}.jpg,dog,test" for number in range(5)),
    )
    assert [item.image_id for item in layout.candidates] == ["a.jpg", "f.jpg"]
    assert layout.warnings == (
        "labels.csv: 5 rows name files that are missing (gone0.jpg, gone1.jpg, gone2.jpg, ...)",
        "labels.csv: 1 photos have contradicting labels (b.jpg)",
        "labels.csv: 1 photos have contradicting splits or groups (e.jpg)",
        "labels.csv: 1 photos have no label (c.jpg)",
        "labels.csv: 1 photos have no split, though others do (d.jpg)",
        "labels.csv: 3 photos have several rows (a.jpg, b.jpg, e.jpg)",
        "labels.csv: 1 photos have no row (g.jpg)",
    )
    reasons = {item.file: item.reason for item in layout.rejected}
    assert reasons["b.jpg"] == "contradicting labels (`cat`, `dog`) in lines 4, 5"
    assert reasons["gone1.jpg"] == "in line 12 of labels.csv, but missing"
    assert len(reasons) == 10


def test_names_in_another_unicode_form_or_letter_case_are_found(photos: Path, draw: Draw) -> None:
    draw("Cafe\u0301/IMG_1.JPG")
    draw("x/a.jpg")
    draw("x/A.jpg")
    layout = table(photos, "path,label", "Caf\u00e9/img_1.jpg,cat", "x/A.jpg,dog", "X/a.jpg,cat")
    assert {item.image_id: item.class_name for item in layout.candidates} == {
        "Cafe\u0301/IMG_1.JPG": "cat",
        "x/A.jpg": "dog",
    }
    assert [item.file for item in layout.rejected] == ["X/a.jpg", "x/a.jpg"]  # either of two, so none


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["path,label,split", "1.jpg,cat,trian", "1.jpg,cat,x"],
            r"2 rows .*not known \(trian, x\): expected train: train",
        ),
        (["path,label"], "has no rows"),
        (["image_url;kind", "a;b"], "expected a header with the columns `path` and `label`"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(photos: Path, draw: Draw, lines: list[str], told: str) -> None:
    draw("1.jpg")
    with pytest.raises(AtlasError, match=told):
        table(photos, *lines)


def test_two_tables_are_one_too_many(photos: Path, draw: Draw) -> None:
    draw("1.jpg")
    (photos / "labels.tsv").touch()
    with pytest.raises(AtlasError, match=r"several tables of labels \(labels.csv, labels.tsv\)"):
        table(photos, "path,label", "1.jpg,cat")


@pytest.mark.parametrize("name", ["1.jpg", "1", "SUB/1", "/home/me/pets/img/sub/1.jpg", "C:\\me\\img\\sub\\1.jpg"])
def test_a_photo_is_found_by_the_end_of_its_path_and_that_is_told(photos: Path, draw: Draw, name: str) -> None:
    for path in ("img/sub/1.jpg", "img/sub/11.jpg", "2.jpg"):
        draw(path)
    layout = table(photos, "path,label", f"{name},cat", "2.jpg,dog")
    assert [(item.image_id, item.class_name) for item in layout.candidates] == [
        ("2.jpg", "dog"),
        ("img/sub/1.jpg", "cat"),
    ]
    assert layout.notes == (f"labels.csv: 1 photos were found by the end of their path ({name}: img/sub/1.jpg)",)


@pytest.mark.parametrize("name", ["1.jpg", "1", "dog/1.jpg", "../cat/1.jpg", "/elsewhere/1.jpg", "at/1.jpg", "1.png"])
def test_a_name_that_may_mean_another_photo_is_missing(photos: Path, draw: Draw, name: str) -> None:
    for path in ("cat/1.jpg", "bat/1.jpg", "2.jpg"):
        draw(path)
    layout = table(photos, "path,label", f"{name},cat", "2.jpg,dog")
    assert [item.image_id for item in layout.candidates] == ["2.jpg"]
    assert name in [item.file for item in layout.rejected if item.kind == "missing"]


def test_paths_that_leave_the_folder_are_missing(photos: Path, draw: Draw) -> None:
    draw("../secret.jpg")
    draw("1.jpg")
    layout = table(photos, "path,label", "../secret.jpg,cat", f"{photos.parent}/secret.jpg,cat", "1.jpg,dog")
    assert [item.kind for item in layout.rejected] == ["missing", "missing"]
