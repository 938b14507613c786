"""Layouts are found by looking, and a folder that has none is told what was expected."""

from pathlib import Path

import pytest
from PIL import Image

from vit_atlas.data.candidates import Layout
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


def test_photos_outside_class_folders_are_left_out_by_name_and_deeper_ones_belong_to_the_class(
    two_classes: Path, draw
) -> None:
    draw("stray.jpg")
    draw("cat/more/deep.jpg")
    (two_classes / "README.md").write_text("notes")
    (two_classes / "cat" / ".DS_Store").write_text("x")
    (two_classes / "cat" / "Thumbs.db").write_text("x")
    layout = find_layout(two_classes)
    assert {item.file: item.reason for item in layout.rejected} == {"stray.jpg": "outside every class folder"}
    assert {item.image_id: item.class_name for item in layout.candidates}["cat/more/deep.jpg"] == "cat"
    assert len(layout.candidates) == 21
    assert layout.ignored == ("README.md", "cat/.DS_Store", "cat/Thumbs.db")
    assert layout.warnings == ()


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
    remedies = ("keep one of them", "train: train, training", "expected <class>/*.jpg or <split>/<class>/*.jpg")
    assert any(remedy in str(caught.value) for remedy in remedies)


def fill(photos: Path, draw, *names: str) -> Layout:
    for name in names:
        draw(name)
    return find_layout(photos)


def test_a_class_may_be_called_train_test_masks_or_images(photos: Path, draw) -> None:
    names = ("bus", "train", "test", "images", "annotations")
    layout = fill(photos, draw, *(f"{name}/{number}.jpg" for name in names for number in (1, 2)))
    assert (layout.kind, layout.classes) == ("image-folder", tuple(sorted(names)))


def test_masks_is_a_class_where_it_holds_photos(photos: Path, draw) -> None:
    layout = fill(photos, draw, *(f"{name}/{number}.jpg" for name in ("masks", "no masks") for number in (1, 2)))
    assert layout.classes == ("masks", "no masks")
    for path in (photos / "masks").iterdir():
        Image.open(path).convert("L").point(lambda value: 255 * (value > 99)).save(path)
    draw("cat/1.jpg")
    layout = find_layout(photos)
    assert layout.classes == ("cat", "no masks")
    assert layout.unused_masks == ("masks/1.jpg",)  # of cat/1.jpg or no masks/1.jpg


@pytest.mark.parametrize(
    ("name", "split"),
    [("training", "train"), ("DEV", "val"), ("eval", "val"), ("testing", "test"), ("Holdout", "test")],
)
def test_split_folders_have_many_names(photos: Path, draw, name: str, split: str) -> None:
    other = "test" if split == "train" else "train"
    layout = fill(photos, draw, *(f"{folder}/{kind}/1.jpg" for folder in (other, name) for kind in "ab"))
    assert layout.splits == {other, split}


@pytest.mark.parametrize("names", [("train", "test2017"), ("training_set", "test_set")])
def test_a_name_like_a_split_is_answered_with_those_that_are(photos: Path, draw, names: tuple[str, str]) -> None:
    with pytest.raises(AtlasError, match=rf"{names[1]}/.*val: val, valid, validation, dev, eval"):
        fill(photos, draw, *(f"{folder}/{kind}/1.jpg" for folder in names for kind in ("cat", "dog")))


def test_splits_may_lie_below_classes(photos: Path, draw) -> None:
    layout = fill(photos, draw, *(f"{kind}/{split}/1.jpg" for kind in ("cat", "dog") for split in ("train", "test")))
    assert (layout.kind, layout.classes) == ("image-folder-with-splits", ("cat", "dog"))
    assert [(item.image_id, item.split) for item in layout.candidates][:2] == [
        ("cat/test/1.jpg", "test"),
        ("cat/train/1.jpg", "train"),
    ]


def test_photos_below_class_folders_are_a_warning_only_where_the_classes_may_be_splits(photos: Path, draw) -> None:
    layout = fill(photos, draw, *(f"{kind}/{year}/1.jpg" for kind in ("cat", "dog") for year in (2022, 2023)))
    assert (layout.classes, len(layout.candidates)) == (("cat", "dog"), 4)
    assert layout.warnings == (
        "photos in 2022/, 2023/ count as parts of the classes cat/, dog/; if those are splits, name them train, "
        "val and test",
    )
    assert fill(photos, draw, "cat/1.jpg").warnings == ()
    assert fill(photos, draw, "cat/dog/1.jpg").warnings == (
        "photos in cat/dog/ count as `cat`, though `dog` is a class too",
    )


def test_one_name_in_two_unicode_forms_is_one_class_and_near_names_are_told(photos: Path, draw) -> None:
    names = ("train/Caf\u00e9/1.jpg", "test/Cafe\u0301/1.jpg", "train/Cat/1.jpg", "test/cat/1.jpg", "test/cat /1.jpg")
    layout = fill(photos, draw, *names)
    assert layout.classes == ("Caf\u00e9", "Cat", "cat", "cat ")
    assert layout.warnings == ("the classes `Cat` and `cat` and `cat ` differ only in letter case or spaces",)


def test_folders_without_photos_beside_splits_are_left_out_and_told(photos: Path, draw) -> None:
    (photos / "docs").mkdir()
    (photos / "docs" / "notes.txt").write_text("x")
    layout = fill(photos, draw, *(f"{split}/{kind}/1.jpg" for split in ("train", "test") for kind in "ab"))
    assert layout.warnings == ("no photo in docs/: left out",)
    assert layout.ignored == ("docs/notes.txt",)


def test_folders_without_photos_beside_classes_are_left_out_and_told(two_classes: Path) -> None:
    (two_classes / "meta").mkdir()
    (two_classes / "meta" / "classes.txt").write_text("cat\ndog")
    layout = find_layout(two_classes)
    assert (layout.classes, layout.warnings) == (("cat", "dog"), ("no photo in meta/: left out",))


@pytest.mark.parametrize("inside", ["{c}/1.jpg", "{s}/{c}/1.jpg"])
def test_one_folder_around_all_others_is_looked_into(photos: Path, draw, inside: str) -> None:
    (photos / "meta").mkdir()
    (photos / "meta" / "classes.txt").write_text("cat\ndog")
    (photos / "readme.txt").write_text("x")
    names = sorted(
        {f"images/{inside}".format(c=name, s=split) for name in ("cat", "dog") for split in ("test", "train")}
    )
    draw(names[0])
    (photos / "images" / "notes.txt").write_text("x")
    layout = fill(photos, draw, *names)
    assert layout.classes == ("cat", "dog")
    assert [item.image_id for item in layout.candidates] == names
    assert layout.ignored == ("images/notes.txt", "meta/classes.txt", "readme.txt")


def test_a_table_of_another_name_is_pointed_out(photos: Path, draw) -> None:
    (photos / "train.csv").write_text("id,breed\n")
    with pytest.raises(AtlasError, match=r"if train\.csv says what the photos are, call it labels\.csv"):
        fill(photos, draw, "1.jpg")


def test_masks_below_classes_are_no_photos(photos: Path, draw) -> None:
    for name in ("cat", "dog"):
        draw(f"{name}/images/1.jpg")
        mask = photos / name / "masks" / "1.png"
        mask.parent.mkdir()
        Image.new("L", (40, 30), 255).save(mask)
    layout = find_layout(photos)
    assert [(item.image_id, item.mask) for item in layout.candidates] == [
        ("cat/images/1.jpg", photos / "cat/masks/1.png"),
        ("dog/images/1.jpg", photos / "dog/masks/1.png"),
    ]


def test_links_to_folders_are_followed_once_and_loops_are_told(photos: Path, tmp_path: Path, draw) -> None:
    draw("../elsewhere/1.jpg")
    draw("dog/1.jpg")
    (photos / "cat").symlink_to(tmp_path / "elsewhere")
    (photos / "dog" / "up").symlink_to(photos)
    (photos / "dog" / "out").symlink_to("/")
    (photos / "emu").symlink_to(photos / "dog")
    layout = find_layout(photos)
    assert [item.image_id for item in layout.candidates] == ["cat/1.jpg", "dog/1.jpg"]
    assert [item.file for item in layout.rejected] == ["dog/out", "dog/up", "emu"]


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
