"""Whatever lies in a folder: no traceback, every file accounted for once, the same result in any order of listing."""

import io
import os
import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from tests.data.conftest import picture
from tests.tiny_settings import tiny
from vit_atlas.cli.data import app
from vit_atlas.data import tree
from vit_atlas.data.candidates import Layout
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.manifest import Manifest
from vit_atlas.data.prepare import Prepared, prepare, write_prepared
from vit_atlas.errors import AtlasError
from vit_atlas.paths import REJECTED
from vit_atlas.settings import DataSettings

settings.register_profile("same", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("same")

DATA = tiny(DataSettings, max_pixels=10_000)


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


PHOTOS = [encoded(picture(str(number), (30, 20)), form) for number in range(12) for form in ("JPEG", "PNG")]
MASK = encoded(Image.new("L", (30, 20), 255), "PNG")
KINDS = ("photo",) * 8 + ("cut", "empty", "text", "mask", "pipe", "dangling", "loop", "socket", "link", "folder", "up")
USUAL = ("train", "test", "val", "dev", "cat", "dog", "Cat", "cat ", "masks", "images", "annotations", "2023", "docs")
USUAL += ("Caf\u00e9", "Cafe\u0301", "__MACOSX", ".git", "test2017")
FILES = (
    "1.jpg",
    "2.png",
    "3_4.jpg",
    "26_5064.jpg",
    "a.JPG",
    ".DS_Store",
    "._1.jpg",
    "Thumbs.db",
    "notes.txt",
    "x",
    "1.tif",
)
FILES += (
    "labels.csv",
    "trainval.txt",
    "a\nb.jpg",
    "c\rd.jpg",
    '"q,;".jpg',
    "\udcff.jpg",
    "\\udcff.jpg",
    "#%.jpg",
    "a" * 250,
)
ANY = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40)
FOLDERS = st.lists(st.one_of(st.sampled_from(USUAL), st.sampled_from(USUAL), ANY), max_size=3)
ENTRIES = st.tuples(
    FOLDERS, st.one_of(st.sampled_from(FILES), ANY), st.sampled_from(KINDS), st.integers(0, len(PHOTOS) - 1)
)
TREES = st.lists(ENTRIES, max_size=25)
BASES = st.sampled_from(["nothing", "classes", "classes", "splits", "homework"])


def place(path: Path, kind: str, number: int, root: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind in ("dangling", "loop", "up"):
        path.symlink_to({"dangling": "nothing", "loop": path.name, "up": root}[kind])
    elif kind == "link":
        (root.parent / "elsewhere.jpg").write_bytes(PHOTOS[number])
        path.symlink_to(root.parent / "elsewhere.jpg")
    else:
        whole = PHOTOS[number]
        path.write_bytes({"cut": whole[:150], "empty": b"", "text": b"path,label\n", "mask": MASK}.get(kind, whole))


def fill(root: Path, entries: list[Any]) -> None:
    for folders, name, kind, number in entries:
        with suppress(OSError, ValueError):  # a name that is too long, or there already as something else
            folder = root.joinpath(*(part for part in folders if part not in (".", "..")))
            folder.mkdir(parents=True, exist_ok=True)
            if name not in (".", "..") and not os.path.lexists(folder / name):
                place(folder / name, kind, number, root)


def usual(base: str) -> list[Any]:
    """Entries of a small folder of that layout."""
    number = iter(range(len(PHOTOS)))
    patterns = {
        "classes": ("{c}/{n}.jpg", ("cat", "dog"), range(6)),
        "splits": ("{n}/{c}/1.jpg", ("cat", "dog"), ("train", "val", "test")),
        "homework": ("{n}/{c}_1.jpg", ("1", "02"), ("train", "val")),
        "nothing": ("", (), ()),
    }
    text, classes, parts = patterns[base]
    paths = [text.format(c=name, n=part).split("/") for name in classes for part in parts]
    return [(path[:-1], path[-1], "photo", next(number)) for path in paths]


def all_files(root: Path) -> Counter[str]:
    """Everything that is no folder, and links to folders, as the tables name it."""
    found: Counter[str] = Counter()
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found.update(tree.name_below(root, Path(folder) / name) for name in (*files, *links))
    return found


def accounted(root: Path, layout: Layout) -> Counter[str]:
    """Files by name, each as often as the layout speaks of it; names of ignored folders end in a slash."""
    masks = [tree.name_below(root, item.mask) for item in layout.candidates if item.mask]
    photos = [item.image_id for item in layout.candidates]
    return Counter([*photos, *(item.file for item in layout.rejected), *layout.unused_masks, *layout.ignored, *masks])


@contextmanager
def shuffled_listing(seed: int) -> Iterator[None]:
    real = os.scandir

    @contextmanager
    def scandir(path: Any) -> Iterator[list[os.DirEntry[str]]]:
        with real(path) as entries:
            found = list(entries)
        random.Random(seed).shuffle(found)
        yield found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree.os, "scandir", scandir)
        yield


@given(BASES, TREES)
def test_every_file_is_accounted_for_once(base: str, entries: list[Any]) -> None:
    with TemporaryDirectory() as name:
        root = Path(name) / "photos"
        root.mkdir()
        fill(root, [*usual(base), *entries])
        try:
            layout = find_layout(root)
        except AtlasError:
            return
        told = accounted(root, layout)
        ignored_folders = tuple(name for name in told if name.endswith("/"))
        files = Counter(
            {name: n for name, n in all_files(root).items() if not any(map(name.startswith, ignored_folders))}
        )
        # Told beside files: folders, and what a list names though it is not there.
        no_files = {item.file for item in layout.rejected if item.kind in ("not-a-file", "missing", "listed-twice")}
        assert files - told == Counter()
        assert set(told - files) <= {*ignored_folders, *no_files}


def outcome(root: Path) -> Prepared | str:
    try:
        return prepare(root, DATA)
    except AtlasError as error:
        return str(error)


@given(BASES, TREES, st.integers(0, 3))
def test_prepare_and_check_end_in_a_result_or_a_sentence_the_same_in_any_order(
    base: str, entries: list[Any], seed: int
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        root = Path("photos")
        root.mkdir()
        fill(Path(name) / root, [*usual(base), *entries])
        result = CliRunner().invoke(app, ["check", "photos"])
        prepared = outcome(root)
        with shuffled_listing(seed):
            again = outcome(root)
        if isinstance(prepared, str):
            assert isinstance(result.exception, AtlasError)
            assert again == prepared
            assert prepared.isprintable()
            return
        assert result.exit_code == 0
        assert isinstance(again, Prepared)
        assert again.manifest.frame.equals(prepared.manifest.frame)
        assert again.metrics == prepared.metrics
        layout = prepared.layout
        files = len(prepared.manifest) + prepared.metrics["rejected_count"]
        assert files == len(layout.candidates) + len(layout.rejected)
        write_prepared(prepared)
        assert Manifest.read(masks=True).frame.equals(prepared.manifest.frame)
        rejected = pd.read_csv(REJECTED, dtype=str, keep_default_na=False)
        assert rejected["file"].tolist() == prepared.findings.rejected["file"].tolist()
