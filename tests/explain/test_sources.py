import os
from pathlib import Path

import pytest

from tests.explain.conftest import write_photo
from vit_atlas.explain.sources import find_photos, output_stems

OUT = Path("explain")


def names(*arguments, lines=(), out=OUT):
    found = find_photos(arguments, lambda: lines, out)
    return [path.as_posix() for path in found.paths], found.problems


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a/b/2.JPG", "a/b/10.png", "a/1.webp", "a/.hidden/3.png", "a/.4.png", "explain/old-maps.png"):
        write_photo(Path(name))
    Path("a/notes.txt").write_text("no photo")


def test_folders_are_searched_in_order_for_files_named_like_photos():
    assert names("a") == (["a/1.webp", "a/b/10.png", "a/b/2.JPG"], [])


def test_globs_find_files_any_folders_below():
    assert names("a/**/*.png") == (["a/b/10.png"], [])
    assert names("a/*") == (["a/1.webp"], [])
    assert names("**/*") == (["a/1.webp", "a/b/10.png", "a/b/2.JPG"], [])


def test_a_named_file_is_taken_whatever_its_name():
    assert names("a/notes.txt", "./a/1.webp", "a/1.webp") == (["a/notes.txt", "a/1.webp"], [])


def test_each_file_once_even_through_a_link():
    Path("link.png").symlink_to("a/b/10.png")
    assert names("link.png", "a/b", "a/**/*.png") == (["link.png", "a/b/2.JPG"], [])


def test_a_name_with_brackets_is_no_glob_where_the_file_is_there():
    write_photo(Path("photo[1].png"))
    assert names("photo[1].png") == (["photo[1].png"], [])


def test_own_pictures_are_no_photos_unless_named():
    assert "explain/old-maps.png" not in names(".")[0]
    assert names("explain") == (["explain/old-maps.png"], [])
    assert names("explain/old-maps.png") == (["explain/old-maps.png"], [])


def test_stdin_lists_paths_and_folders():
    assert names("-", "-", lines=["a/1.webp\n", "\n", "a/b\r\n"]) == (["a/1.webp", "a/b/10.png", "a/b/2.JPG"], [])
    assert names("-") == ([], ["stdin lists no photo: write one path a line"])


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("a/9.png", "a/9.png does not exist"),
        ("b/*.png", "no photo matches b/*.png"),
        ("a/*.txt", "no photo matches a/*.txt"),
        ("empty", "empty holds no file that is named like a photo"),
        ("x" * 5000, "cannot be read (File name too long)"),
    ],
)
def test_what_leads_to_no_photo_is_a_sentence_and_the_rest_goes_on(argument, sentence):
    Path("empty").mkdir()
    paths, problems = names(argument, "a/1.webp")
    assert paths == ["a/1.webp"]
    assert len(problems) == 1
    assert sentence in problems[0]
    assert "\n" not in problems[0]


def test_a_broken_link_does_not_exist():
    Path("broken.png").symlink_to("nowhere.png")
    assert "broken.png does not exist" in names("broken.png")[1][0]


def test_names_that_are_no_text_can_be_told():
    name = os.fsdecode(b"caf\xe9.png")
    assert names(name)[1] == [
        "caf\ufffd.png does not exist: give photos, folders, globs in quotes, or - for a list on stdin"
    ]


def test_equal_stems_get_their_folders_in_front():
    paths = [Path(name) for name in ("x/cat/1.png", "x/dog/1.png", "x/dog/2.png", "x/dog/2.jpg")]
    stems = output_stems(paths)
    assert stems[:2] == ["cat_1", "dog_1"]
    assert len(set(stems)) == 4
    assert output_stems(paths) == stems
    assert output_stems([Path("x/cat/1.png")]) == ["1"]
    assert output_stems([]) == []
