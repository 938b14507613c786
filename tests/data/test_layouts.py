"""Layouts are found by looking, and a folder that has none is told what was expected."""

from pathlib import Path

import pytest
from PIL import Image

from vit_atlas.data.layouts import find_layout
from vit_atlas.errors import AtlasError


def test_an_image_folder_has_its_folders_as_classes(two_classes: Path) -> None:
    layout = find_layout(two_classes)
    assert layout.kind == "image-folder"
    assert layout.classes == ("cat", "dog")
    assert layout.splits == frozenset()
    assert layout.candidates[0].image_id == "cat/0.jpg"
    assert len(layout.candidates) == 20


@pytest.mark.parametrize("val_name", ["val", "valid", "validation", "Val"])
def test_split_folders_give_the_splits(photos: Path, draw, val_name: str) -> None:
    for split in ("train", val_name, "test"):
        for name in ("b", "a"):
            draw(f"{split}/{name}/1.jpg")
    layout = find_layout(photos)
    assert layout.kind == "image-folder-with-splits"
    assert layout.classes == ("a", "b")
    assert layout.splits == {"train", "val", "test"}
    assert {item.image_id: item.split for item in layout.candidates}[f"{val_name}/a/1.jpg"] == "val"


def test_the_homework_reads_labels_from_names_in_numeric_order(photos: Path, draw) -> None:
    for name in ("train/10_7.jpg", "train/9_5064.jpg", "val/9_1.jpg", "val/10_2.jpg", "train/notes_about_9.jpg"):
        draw(name)
    layout = find_layout(photos)
    assert layout.kind == "homework"
    assert layout.classes == ("9", "10")
    assert {item.image_id: item.class_name for item in layout.candidates}["train/9_5064.jpg"] == "9"
    assert [item.file for item in layout.rejected] == ["train/notes_about_9.jpg"]


@pytest.fixture
def oxford(photos: Path, draw) -> Path:
    for stem in ("Abyssinian_1", "great_pyrenees_2", "Abyssinian_3", "great_pyrenees_4", "pug_9"):
        draw(f"images/{stem}.jpg")
    (photos / "annotations" / "trimaps").mkdir(parents=True)
    (photos / "annotations" / "trainval.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\ngreat_pyrenees_2 1 2 1\nAbyssinian_1 2 1 1\ngreat_pyrenees_8 1 2 1\n"
    )
    (photos / "annotations" / "test.txt").write_text("Abyssinian_3 2 1 1\ngreat_pyrenees_4 1 2 1\nAbyssinian_1 2 1 1\n")
    Image.new("L", (40, 30), 1).save(photos / "annotations" / "trimaps" / "Abyssinian_1.png")
    return photos


def test_oxford_pets_classes_keep_the_lists_order_and_the_names_case(oxford: Path) -> None:
    layout = find_layout(oxford)
    assert layout.kind == "oxford-pets"
    assert layout.classes == ("great_pyrenees", "Abyssinian")
    assert [(item.image_id, item.split, item.mask_kind) for item in layout.candidates] == [
        ("images/Abyssinian_1.jpg", "train", "trimap"),
        ("images/Abyssinian_3.jpg", "test", ""),
        ("images/great_pyrenees_2.jpg", "train", ""),
        ("images/great_pyrenees_4.jpg", "test", ""),
    ]


def test_oxford_pets_names_every_file_that_lists_and_folder_disagree_about(oxford: Path) -> None:
    Image.new("P", (9, 9)).save(oxford / "images" / "pug_10.jpg", format="GIF")
    reasons = {item.file: item.reason for item in find_layout(oxford).rejected}
    assert reasons == {
        "images/Abyssinian_1.jpg": "listed twice (trainval.txt and test.txt)",
        "images/great_pyrenees_8.jpg": "listed in annotations/trainval.txt, but missing",
        "images/pug_9.jpg": "in no list of annotations/",
        "images/pug_10.jpg": "in no list of annotations/, and it is a GIF",
    }


def test_a_broken_line_in_a_published_list_is_named_by_number(oxford: Path) -> None:
    (oxford / "annotations" / "test.txt").write_text("Abyssinian_3 2 1 1\nAbyssinian_4 cat\n")
    with pytest.raises(AtlasError, match=r"test\.txt line 2 is 'Abyssinian_4 cat'"):
        find_layout(oxford)


def test_a_class_with_two_ids_is_an_error(oxford: Path) -> None:
    (oxford / "annotations" / "test.txt").write_text("Abyssinian_3 7 1 1\n")
    with pytest.raises(AtlasError, match="class 7, but other Abyssinian photos have class 2"):
        find_layout(oxford)


def test_masks_go_by_path_and_by_stem_where_only_one_photo_has_it(photos: Path, draw) -> None:
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/3.jpg"):
        draw(name)
    for name in ("1.png", "2.png", "dog/3.png"):
        path = photos / "masks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30), 255).save(path)
    layout = find_layout(photos)
    masks = {item.image_id: item.mask for item in layout.candidates}
    assert layout.unused_masks == ("masks/1.png",)
    assert masks == {
        "cat/1.jpg": None,  # 1.png could be the mask of either
        "cat/2.jpg": photos / "masks/2.png",
        "dog/1.jpg": None,
        "dog/3.jpg": photos / "masks/dog/3.png",
    }


def test_photos_outside_class_folders_and_deeper_ones_are_left_out_by_name(two_classes: Path, draw) -> None:
    draw("stray.jpg")
    draw("cat/more/deep.jpg")
    (two_classes / "README.md").write_text("notes")
    (two_classes / "cat" / ".DS_Store").write_text("x")
    (two_classes / "cat" / "Thumbs.db").write_text("x")
    layout = find_layout(two_classes)
    assert {item.file: item.reason for item in layout.rejected} == {
        "stray.jpg": "outside every class folder",
        "cat/more/deep.jpg": "in a folder below the class folder cat/",
    }
    assert len(layout.candidates) == 20


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty"),
        (["1.jpg", "2.png"], r"no layout known here \(it holds 2 files \(\.jpg, \.png\)\)"),
        (["a/b/1.jpg"], r"it holds 1 folders without files \(a/\)"),
        (["train/cat/1.jpg", "extra/1.jpg"], r"mixes split folders with others \(extra/\)"),
        (["val/cat/1.jpg", "valid/cat/1.jpg"], r"several folders for the split val \(val/, valid/\)"),
        (["train/cat.jpg", "val/dog.jpg"], "neither class folders nor files named"),
        (["images/cat_1.jpg", "annotations/notes.txt"], "trainval.txt does not exist"),
    ],
)
def test_a_folder_without_layout_is_told_what_it_holds_and_the_three_layouts(
    photos: Path, files: list[str], message: str
) -> None:
    for name in files:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"x")
    with pytest.raises(AtlasError, match=message) as caught:
        find_layout(photos)
    assert "several folders" in str(caught.value) or "expected <class>/*.jpg or <split>/<class>/*.jpg" in str(
        caught.value
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="nowhere is not a folder"):
        find_layout(tmp_path / "nowhere")


@pytest.mark.real_data
def test_pets_mini_names_its_unlisted_files_one_of_them_a_gif(real_data: Path) -> None:
    layout = find_layout(real_data / "pets-mini")
    assert len(layout.classes) == 37
    assert layout.classes[0] == "Abyssinian"
    assert len(layout.candidates) == 1027
    reasons = [item.reason for item in layout.rejected]
    assert sorted(reasons) == ["in no list of annotations/", "in no list of annotations/, and it is a GIF"]
