"""data/captioning as people make it: what is wrong is counted and named, and the rest goes on."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vit_atlas.captioning.dataset import CaptionDataset, read_dataset
from vit_atlas.errors import AtlasError


def write_photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "b.jpg", "sub/c.png")):
        write_photo(tmp_path / "images" / name, seed)
    write_photo(tmp_path / "a_dog.png")
    return tmp_path


def write(folder: Path, *lines: str, header: str = "image,caption,split", encoding: str = "utf-8") -> None:
    (folder / "captions.csv").write_bytes(("\n".join([header, *lines]) + "\n").encode(encoding))


def captions(dataset: CaptionDataset) -> dict[str, tuple[str, ...]]:
    return {photo.name: photo.captions for photo in dataset.photos}


def problem(folder: Path) -> str:
    with pytest.raises(AtlasError) as caught:
        read_dataset(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_captions_of_a_photo_are_gathered_in_file_order(folder: Path) -> None:
    write(folder, "b.jpg,One dog.,test", "a.jpg,A cat,train", 'b.jpg,"Two, no: one dog",test', "sub/c.png,x,val")
    dataset = read_dataset(folder)
    assert [(photo.name, photo.split, photo.captions) for photo in dataset.photos] == [
        ("b.jpg", "test", ("One dog.", "Two, no: one dog")),
        ("a.jpg", "train", ("A cat",)),
        ("sub/c.png", "val", ("x",)),
    ]
    assert dataset.warnings == dataset.left_out == ()


@pytest.mark.parametrize(
    ("header", "rows", "encoding"),
    [
        ("image,caption", ["a.jpg,a café"], "utf-8-sig"),
        ("image;caption", ["a.jpg;a café"], "utf-8"),
        ("image\tcaption", ["a.jpg\ta café"], "utf-16"),
        ("Image Name,Text", ['images\\a.jpg,"a\ncafé"', ""], "utf-8"),
        ("file_name|caption", ["images/a.jpg| a\u2028café\x0b "], "utf-8"),
        ("image,caption\r", ["A.JPG,a\x85cafe\u0301\r"], "utf-8"),
        ("image,caption", ["a.jpg,a café"], "cp1252"),
    ],
)
def test_tables_as_programs_write_them(folder: Path, header: str, rows: list[str], encoding: str) -> None:
    write(folder, *rows, header=header, encoding=encoding)
    dataset = read_dataset(folder)
    assert captions(dataset)["a.jpg"] == ("a café",)
    assert any("Windows-1252" in line for line in dataset.warnings) == (encoding == "cp1252")


def test_accents_may_be_composed_otherwise_in_the_table(folder: Path) -> None:
    name = unicodedata.normalize("NFD", "Müller.jpg")
    write_photo(folder / "images" / name, 4)
    write(folder, f"{unicodedata.normalize('NFC', name)},a dog,train")
    assert captions(read_dataset(folder))[name] == ("a dog",)


def test_without_splits_the_name_decides_and_no_split_stays_empty(folder: Path) -> None:
    for index in range(200):
        write_photo(folder / "images" / f"{index}.png", 9)
    write(folder, *(f"{index}.png,a dog" for index in range(200)), header="image,caption")
    splits = [photo.split for photo in read_dataset(folder).photos if photo.split]
    assert 130 < splits.count("train") < 185
    assert splits.count("val") > 5
    assert splits.count("test") > 5
    write(folder, "a.jpg,a dog", "b.jpg,a dog", "sub/c.png,a dog", header="image,caption")
    assert sorted(photo.split for photo in read_dataset(folder).photos if photo.split) == ["test", "train", "val"]


def test_splits_have_their_usual_names_and_unknown_ones_are_told_at_once(folder: Path) -> None:
    write(folder, "a.jpg,x,Training", "b.jpg,x,dev", "sub/c.png,x,holdout")
    assert [photo.split for photo in read_dataset(folder).photos] == ["train", "val", "test"]
    write(folder, "a.jpg,x,first", "b.jpg,x,second", "sub/c.png,x,test")
    message = problem(folder)
    assert "2 rows have splits that are not known (first, second)" in message
    assert "val: val, valid" in message


def test_what_is_wrong_is_counted_and_named_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "images" / "broken.jpg").write_bytes((folder / "images" / "b.jpg").read_bytes()[:150])
    Image.new("RGB", (7, 20)).save(folder / "images" / "strip.png")
    write_photo(folder / "images" / "torn.png", 7)
    write_photo(folder / "images" / "copy.png", 0)
    write(
        folder,
        *(f"gone{index}.jpg,x,train" for index in range(5)),
        *("a.jpg,x,train", "b.jpg, . ,train", "torn.png,x,val", "torn.png,x,test", "broken.jpg,x,train"),
        *("copy.png,y,val", "sub/c.png,x,test", "strip.png,a,train"),
    )
    write_photo(folder / "images" / "a.jpg.png", 0)
    dataset = read_dataset(folder)
    told = "\n".join(dataset.warnings)
    assert {"a.jpg", "copy.png", "sub/c.png", "b.jpg", "a.jpg.png"} == set(captions(dataset))
    assert "captions.csv: 5 photos that it names are missing (gone0.jpg, gone1.jpg, gone2.jpg, ...)" in told
    assert "captions.csv: 1 captions are empty (lines 8)" in told
    assert "1 photos are left out (torn.png): contradicting splits (`test` and `val`)" in told
    assert "2 photos are left out (broken.jpg, strip.png): broken.jpg first, the file is cut short (truncated)" in told
    assert "2 photos have no caption (a.jpg.png, b.jpg)" in told
    assert {item.file: item.kind for item in dataset.left_out} == {
        "torn.png": "contradicting-rows",
        "broken.jpg": "truncated",
        "strip.png": "too-small",
    }


def test_copies_in_several_splits_are_told(folder: Path) -> None:
    for name in ("one.png", "two.png"):
        write_photo(folder / "images" / name, 5)
    write(folder, "one.png,a dog,train", "two.png,a dog,test", "a.jpg,a cat,val")
    assert "1 pictures lie in several splits (one.png, two.png first)" in read_dataset(folder).warnings


def test_what_systems_leave_is_ignored(folder: Path) -> None:
    (folder / "images" / "._a.jpg").write_bytes(b"\0\5\x16\7" + bytes(200))
    (folder / "__MACOSX" / "images").mkdir(parents=True)
    (folder / ".captions.csv.swp").touch()
    dataset = read_dataset(folder)
    assert [photo.name for photo in dataset.photos] == ["a.jpg", "b.jpg", "sub/c.png"]
    assert dataset.left_out == ()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["image,caption,split", "b.jpg,A dog, brown,train"], "1 lines have more cells than its header (2)"),
        (["image,caption,split", 'b.jpg,"A dog,train'], "not a readable table"),
        (["photo,words"], "expected a header with the columns `image` and `caption`"),
        (["image,caption"], "holds no caption of a photo: add lines"),
        (["image,caption", "none.jpg,x", "a.jpg,"], "holds no caption of a photo (captions.csv: 1 photos"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(folder: Path, lines: list[str], expected: str) -> None:
    (folder / "captions.csv").write_text("\n".join(lines))
    assert expected in problem(folder)


def test_a_folder_without_photos_says_how_to_leave_captions_out(folder: Path, tmp_path: Path) -> None:
    assert "is not a folder" in problem(folder / "nothing")
    (tmp_path / "empty" / "images").mkdir(parents=True)
    assert "holds no photos" in problem(tmp_path / "empty")
    assert "`vit-atlas use captioner=none`" in problem(folder / "images")
    for path in folder.rglob("*.*"):
        path.write_bytes(b"no photo")
    assert "holds no usable photo: 3 photos are left out" in problem(folder)


def test_a_split_that_is_missing_is_named(folder: Path) -> None:
    write(folder, "a.jpg,x,train")
    with pytest.raises(AtlasError, match="no usable photo in the split `val`"):
        read_dataset(folder).of_split("val")


def test_objects(folder: Path) -> None:
    lines = [
        {"image": "images/a.jpg", "noun": " Dog\u2028House", "mask": "A_DOG.png"},
        {"image": "a.jpg", "noun": "cat", "mask": "none.png"},
        {"image": "z.jpg", "noun": "cat", "mask": "a_dog.png"},
        {"image": "../a.jpg", "noun": "cat", "mask": "../a_dog.png"},
        {"image": "a.jpg", "noun": "Tree", "mask": None, "box": [1, 2.5, 3, 4]},
    ]
    text = "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (folder / "objects.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\n\n")
    dataset = read_dataset(folder)
    dog, tree = dataset.photos[0].things
    assert (dog.noun, dog.path.name if dog.path else None, dog.box) == ("dog house", "a_dog.png", None)
    assert (tree.noun, tree.path, tree.box) == ("tree", None, (1, 2.5, 3, 4))
    assert not any(photo.things for photo in dataset.photos[1:])
    assert dataset.warnings == (
        "objects.jsonl: 2 photos that it names are missing (../a.jpg, z.jpg)",
        "objects.jsonl: 2 masks that it names are missing (../a_dog.png, none.png)",
    )


def test_broken_lines_of_objects_are_told_at_once(folder: Path) -> None:
    good = '{"image": "a.jpg", "noun": "dog", "mask": "a_dog.png"}'
    lines = ["no json", good, "[1]", '{"image": "a.jpg"}', good.replace("dog", " ", 1)]
    (folder / "objects.jsonl").write_text("\n".join(lines))
    assert "objects.jsonl: 4 lines are not" in problem(folder)
    assert "(lines 1, 3, 4, 5)" in problem(folder)


@pytest.mark.parametrize(
    "box",
    ["[1, 2, 3]", "[3, 2, 1, 4]", '[1, 2, 3, "4"]', "[1, 2, true, 4]", "[0, 0, NaN, 4]", "[0, 0, 1e999, 4]", "{}"],
)
def test_a_box_that_is_none_is_told(folder: Path, box: str) -> None:
    (folder / "objects.jsonl").write_text(f'{{"image": "a.jpg", "noun": "dog", "box": {box}}}')
    said = problem(folder)
    assert "objects.jsonl: 1 lines are not" in said
    assert '"box": [x0, y0, x1, y1]' in said
    assert "x0 < x1" in said


def test_a_data_set_has_a_name(folder: Path) -> None:
    write(folder, "a.jpg,x,train")
    first = read_dataset(folder).description
    assert first.startswith(f"3 photos of {folder}, ")
    write(folder, "a.jpg,y,train")
    assert read_dataset(folder).description != first
    (folder / "ABOUT.txt").write_text("Made by hand from the photos of Tom's\ngarden (2019). All rights reserved.\n")
    assert read_dataset(folder).description == "Made by hand from the photos of Tom's garden"


ANYTHING = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(
        st.sampled_from(["a.jpg", "sub/c.png", "../a.jpg", "", "a\0b", '"', ",", "a cat", "\n", "train", "\u2028"])
    )
    .map(",".join)
    .map(str.encode),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.sampled_from(["a.jpg", "a_dog.png", "dog"]),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(["image", "noun", "mask", "x"]), some),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("captioning")
    write_photo(place / "images" / "a.jpg")
    write_photo(place / "images" / "sub" / "c.png", 1)
    write_photo(place / "a_dog.png")
    return place


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ANYTHING, max_size=5), header=st.sampled_from([b"image,caption\n", b"file_name\ttext\r\n", b""]))
def test_any_bytes_are_captions_or_a_sentence(shared_folder: Path, rows: list[bytes], header: bytes) -> None:
    (shared_folder / "objects.jsonl").unlink(missing_ok=True)
    (shared_folder / "captions.csv").write_bytes(header + b"\n".join(rows))
    read_or_refuse(shared_folder, "captions.csv")


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(st.one_of(ANYTHING, JSON), max_size=5))
def test_any_bytes_are_nouns_or_a_sentence(shared_folder: Path, lines: list[bytes]) -> None:
    (shared_folder / "captions.csv").write_text("image,caption\na.jpg,a dog\n")
    (shared_folder / "objects.jsonl").write_bytes(b"\n".join(lines))
    read_or_refuse(shared_folder, "objects.jsonl")


def read_or_refuse(folder: Path, table: str) -> None:
    """Both photos are there whatever the table says; a table that cannot be used is named."""
    refusal = ""
    try:
        found = read_dataset(folder)
    except AtlasError as error:
        refusal = str(error)
    if refusal:
        assert table in refusal
        return
    assert {photo.name for photo in found.photos} == {"a.jpg", "sub/c.png"}
    assert all(caption.strip() and "\n" not in caption for photo in found.photos for caption in photo.captions)
    assert all(thing.path.is_file() for photo in found.photos for thing in photo.things)


def test_training_without_a_table_of_captions_says_that_it_is_missing(folder: Path) -> None:
    (folder / "captions.csv").unlink(missing_ok=True)
    dataset = read_dataset(folder)
    with pytest.raises(AtlasError, match=r"no photo has a caption: data/captioning/captions.csv is missing or empty"):
        dataset.of_split("train")
    write(folder, "a.jpg,x,train", "b.jpg,x,val")
    with pytest.raises(AtlasError, match=r"has no usable photo in the split `test`"):
        read_dataset(folder).of_split("test")
