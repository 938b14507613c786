"""label_overrides.csv beside the photos corrects labels; what does not fit is told at once, and nothing is written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.data.conftest import Draw
from tests.tiny_settings import tiny
from vit_atlas.cli import commands
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.overrides import NAME, write_corrections
from vit_atlas.data.prepare import prepare, write_prepared
from vit_atlas.errors import AtlasError
from vit_atlas.paths import CLASSIFICATION_DATA
from vit_atlas.settings import DataSettings


def labels(photos: Path) -> dict[str, str]:
    return {one.image_id: one.class_name for one in find_layout(photos).candidates}


def test_labels_are_corrected_and_counted(two_classes: Path) -> None:
    (two_classes / NAME).write_text("path,label\ncat/1.jpg,dog\ndog\\2.jpg,cat\ndog/3.jpg,dog\n")
    found = labels(two_classes)
    assert (found["cat/1.jpg"], found["dog/2.jpg"], found["dog/3.jpg"], found["cat/0.jpg"]) == (
        "dog",
        "cat",
        "dog",
        "cat",
    )
    prepared = prepare(two_classes, tiny(DataSettings))
    assert prepared.metrics["labels_overridden"] == 2
    assert prepared.metrics["photos"] == 20
    assert prepared.metrics["rejected_count"] == 0
    row = prepared.manifest.frame.set_index("image_id").loc["cat/1.jpg"]
    assert (row["class_name"], row["label"]) == ("dog", 1)


def test_names_are_text_and_a_label_table_is_corrected_too(photos: Path, draw: Draw) -> None:
    for name in "abcd":
        draw(f"{name}.jpg")
    (photos / "labels.csv").write_text("path,label\na.jpg,001\nb.jpg,NA\nc.jpg,001\nd.jpg,NA\n")
    (photos / "Label_Overrides.CSV").write_text("image_id;suggested_name\na.jpg;NA\n")
    assert labels(photos) == {"a.jpg": "NA", "b.jpg": "NA", "c.jpg": "001", "d.jpg": "NA"}
    assert "Label_Overrides.CSV" in find_layout(photos).ignored


def test_all_that_is_wrong_is_one_sentence(two_classes: Path) -> None:
    lines = ["path,label", "cat/77.jpg,dog", "cat/1.jpg,cow", "cat/2.jpg,", "cat/3.jpg,dog", "cat/3.jpg,cat"]
    (two_classes / NAME).write_text("\n".join(lines))
    with pytest.raises(AtlasError) as error:
        find_layout(two_classes)
    assert str(error.value).endswith(
        "label_overrides.csv: 1 rows name no usable photo (cat/77.jpg); 2 rows have a label that is none of the 2 "
        "classes (``, `cow`); 1 photos have contradicting labels (cat/3.jpg): correct or remove these rows"
    )


def test_corrections_are_added_and_later_ones_win(two_classes: Path, tmp_path: Path) -> None:
    photos = sorted(two_classes.glob("*/*.jpg"))
    before = {path: path.read_bytes() for path in photos}
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("image_id,class_name,suggested_name\ncat/1.jpg,cat,dog\ncat/2.jpg,cat,dog\n")
    assert write_corrections(two_classes, fixes, photos, ["cat", "dog"]) == (2, 2, 0)
    fixes.write_text("path,label\ncat/2.jpg,cat\ndog/5.jpg,cat\n")
    assert write_corrections(two_classes, fixes, photos, ["cat", "dog"]) == (2, 3, 0)
    assert (two_classes / NAME).read_text() == "path,label\ncat/1.jpg,dog\ncat/2.jpg,cat\ndog/5.jpg,cat\n"
    assert labels(two_classes)["cat/1.jpg"] == "dog"
    assert {path: path.read_bytes() for path in photos} == before


def test_corrections_go_into_the_table_that_is_there_however_it_is_spelt(two_classes: Path, tmp_path: Path) -> None:
    photos, fixes = sorted(two_classes.glob("*/*.jpg")), tmp_path / "fixes.csv"
    (two_classes / "Label_Overrides.CSV").write_text("path,label\ncat/1.jpg,dog\n")
    fixes.write_text("path,label\ncat/2.jpg,dog\n")
    assert write_corrections(two_classes, fixes, photos, ["cat", "dog"]) == (1, 2, 0)
    assert {
        name: label for name, label in labels(two_classes).items() if name.startswith("cat/") and label == "dog"
    } == {
        "cat/1.jpg": "dog",
        "cat/2.jpg": "dog",
    }


def test_a_table_is_found_in_the_same_way_for_reading_and_for_writing(two_classes: Path, tmp_path: Path) -> None:
    fixes = tmp_path / "fixes.csv"
    for path in (fixes, two_classes / NAME, two_classes / NAME.upper()):
        path.write_text("path,label\ncat/1.jpg,dog\n")
    with pytest.raises(AtlasError, match="several tables of overrides"):
        find_layout(two_classes)
    with pytest.raises(AtlasError, match="several tables of overrides"):
        write_corrections(two_classes, fixes, sorted(two_classes.glob("*/*.jpg")), ["cat", "dog"])


def test_corrections_of_photos_that_are_left_out_are_counted_and_those_that_were_there_stay(
    two_classes: Path, tmp_path: Path
) -> None:
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("path,label\ncat/1.jpg,dog\nCAT/2.jpg,dog\n")
    (two_classes / NAME).write_text("path,label\ncat/3.jpg,dog\n")
    rejected = ["cat/2.jpg", "cat/3.jpg"]
    photos = [path for path in sorted(two_classes.glob("*/*.jpg")) if path.name not in ("2.jpg", "3.jpg")]
    assert write_corrections(two_classes, fixes, photos, ["cat", "dog"], rejected) == (1, 2, 1)
    assert (two_classes / NAME).read_text() == "path,label\ncat/1.jpg,dog\ncat/3.jpg,dog\n"
    fixes.write_text("path,label\nnothing.jpg,dog\n")
    with pytest.raises(AtlasError, match="no usable photo"):
        write_corrections(two_classes, fixes, photos, ["cat", "dog"], rejected)


def test_the_name_of_a_photo_that_is_left_out_finds_no_other_one(two_classes: Path, tmp_path: Path) -> None:
    deeper = two_classes / "sub" / "cat"
    deeper.mkdir(parents=True)
    (two_classes / "cat" / "1.jpg").rename(deeper / "1.jpg")
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("path,label\ncat/1.jpg,dog\n")
    photos = sorted(two_classes.rglob("*.jpg"))
    assert write_corrections(two_classes, fixes, photos, ["cat", "dog"], ["cat/1.jpg"]) == (0, 0, 1)
    assert not (two_classes / NAME).exists()
    (two_classes / NAME).write_text("path,label\ncat/1.jpg,cat\n")
    fixes.write_text("path,label\ncat/2.jpg,dog\n")
    assert write_corrections(two_classes, fixes, photos, ["cat", "dog"], ["cat/1.jpg"]) == (1, 2, 0)
    assert (two_classes / NAME).read_text() == "path,label\ncat/1.jpg,cat\ncat/2.jpg,dog\n"


def test_no_folder_to_correct_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="there is no folder"):
        write_corrections(tmp_path / "gone", tmp_path / "fixes.csv", [], ["cat", "dog"])


def test_the_command_tells_which_rows_it_left_out(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CLASSIFICATION_DATA.parent.mkdir()
    two_classes.rename(CLASSIFICATION_DATA)
    (CLASSIFICATION_DATA / "cat" / "1.jpg").write_bytes(b"no photo")
    write_prepared(prepare(CLASSIFICATION_DATA, tiny(DataSettings)))
    Path("fixes.csv").write_text("path,label\ncat/1.jpg,dog\ncat/2.jpg,dog\n")
    told = CliRunner().invoke(commands, ["suspects", "--fix", "fixes.csv"])
    assert told.exit_code == 0, told.output
    assert "1 labels corrected, 1 in " in told.output
    assert "1 rows name photos that prepare has left out since" in told.output


def test_wrong_corrections_change_nothing(two_classes: Path, tmp_path: Path) -> None:
    fixes = tmp_path / "fixes.csv"
    for content, told in (
        ("path,label\ncat/1.jpg,cow\n", "`cow`"),
        ("path,label\n", "no rows"),
        ("x,y\n1,2\n", "path"),
    ):
        fixes.write_text(content)
        with pytest.raises(AtlasError, match=told):
            write_corrections(two_classes, fixes, sorted(two_classes.glob("*/*.jpg")), ["cat", "dog"])
    assert not (two_classes / NAME).exists()
