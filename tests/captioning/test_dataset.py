import json

import pytest
from PIL import Image

from vit_atlas.captioning.dataset import has_captions, read_captions, read_objects, read_photos
from vit_atlas.errors import AtlasError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.png"):
        Image.new("RGB", (12, 10)).save(tmp_path / "images" / name)
    (tmp_path / "a_dog.png").write_bytes(b"mask")
    return tmp_path


def write(folder, *lines, header="image,caption,split"):
    (folder / "captions.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def problem(folder, reader=read_captions):
    with pytest.raises(AtlasError) as caught:
        reader(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_captions_of_a_photo_are_gathered_in_file_order(folder):
    write(folder, "b.jpg,One dog.,test", "a.jpg,A cat,train", 'b.jpg,"Two, no: one dog",test', "sub/c.png,x,val")
    photos = read_captions(folder)
    assert [(photo.name, photo.split, photo.captions) for photo in photos] == [
        ("b.jpg", "test", ("One dog.", "Two, no: one dog")),
        ("a.jpg", "train", ("A cat",)),
        ("sub/c.png", "val", ("x",)),
    ]
    assert all(photo.path.is_file() for photo in photos)


def test_without_a_split_column_the_name_decides(folder):
    for index in range(200):
        (folder / "images" / f"{index}.jpg").touch()
    write(folder, *(f"{index}.jpg,a dog" for index in range(200)), header="image,caption")
    splits = [photo.split for photo in read_captions(folder)]
    assert 130 < splits.count("train") < 185
    assert splits.count("val") > 5
    assert splits.count("test") > 5
    assert [photo.split for photo in read_captions(folder)] == splits


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("none.jpg,A dog,train", "line 3: there is no photo"),
        ("b.jpg, . ,train", "line 3: the caption of b.jpg is empty"),
        ("b.jpg,A dog,training", "line 3: the split of b.jpg is `training`, not one of train, val, test"),
        ("a.jpg,A dog,test", "line 3: a.jpg is in test here and in train further up"),
        ("b.jpg,A dog, brown,train", "line 3: not 3 fields"),
        ("b.jpg", "line 3: not 3 fields"),
        ('b.jpg,"A dog,train', "not valid CSV"),
    ],
)
def test_a_bad_line_is_named(folder, line, expected):
    write(folder, "a.jpg,A cat,train", line)
    assert expected in problem(folder)


def test_all_missing_photos_are_counted_and_the_first_few_named(folder):
    write(folder, "a.jpg,A cat,train", *(f"p{index}.jpg,A dog,train" for index in range(100)))
    found = problem(folder)
    assert "line 3: there is no photo" in found
    assert "images/p0.jpg, and 99 more are missing: p1.jpg (line 4), p2.jpg (line 5), p3.jpg (line 6), ...;" in found


def test_signs_that_some_take_for_line_ends_stay_in_a_caption(folder):
    captions = [f"a red{sign}house" for sign in "\u2028\u2029\x85\x0b\x0c\x1e"]
    write(folder, *(f"a.jpg,{caption},train" for caption in captions))
    assert read_captions(folder)[0].captions == tuple(captions)


def test_a_name_in_the_other_unicode_form_finds_its_file(folder):
    Image.new("RGB", (12, 10)).save(folder / "images" / "Cafe\u0301.jpg")
    write(folder, "Caf\u00e9.jpg,a house,train")
    (photo,) = read_captions(folder)
    assert photo.path.is_file()
    assert photo.path in read_photos(folder)


def test_a_bad_file_is_named(folder):
    assert "does not exist" in problem(folder)
    assert not has_captions(folder)
    write(folder, header="photo,text")
    assert "needs image and caption" in problem(folder)
    write(folder)
    assert "holds no captions" in problem(folder)
    (folder / "captions.csv").write_bytes(b"image,caption\na.jpg,caf\xe9\n")
    assert "not UTF-8" in problem(folder)


def test_photos_without_captions(folder):
    assert [path.name for path in read_photos(folder)] == ["a.jpg", "b.jpg", "c.png"]
    with pytest.raises(AtlasError, match="holds no photos"):
        read_photos(folder / "images" / "nothing")


def test_objects(folder):
    assert read_objects(folder) == {}
    line = {"image": "a.jpg", "noun": "Dog", "mask": "a_dog.png"}
    (folder / "objects.jsonl").write_text(json.dumps(line) + "\n\n")
    assert [(thing.noun, thing.path.name) for thing in read_objects(folder)["a.jpg"]] == [("dog", "a_dog.png")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("not json", "line 1: expected"),
        ('{"image": "a.jpg", "noun": "dog"}', "line 1: expected"),
        ('{"image": "a.jpg", "noun": "dog", "mask": "none.png"}', "line 1: there is no"),
        ('{"image": "z.jpg", "noun": "dog", "mask": "a_dog.png"}', "line 1: there is no"),
    ],
)
def test_a_bad_object_is_named(folder, line, expected):
    (folder / "objects.jsonl").write_text(line + "\n")
    assert expected in problem(folder, read_objects)
