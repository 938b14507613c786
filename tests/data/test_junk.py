"""What systems and programs leave in folders is one list, for every door and for DVC."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vit_atlas.captioning.dataset import read_dataset
from vit_atlas.data.junk import dvcignore_lines, is_junk
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.tree import files_below
from vit_atlas.explain.sources import find_photos

ROOT = Path(__file__).resolve().parents[2]

JUNK = (
    *(".DS_Store", "._p1.jpg", "__MACOSX", "Icon\r", ".Spotlight-V100", ".AppleDouble", "Network Trash Folder"),
    *("Thumbs.db", "THUMBS.DB", "ehthumbs_vista.db", "desktop.ini", "Desktop.ini", "$RECYCLE.BIN"),
    *("System Volume Information", "p1.jpg:Zone.Identifier", ".directory", ".Trash-1000", "lost+found", ".nfs0001"),
    *("@eaDir", "SYNOPHOTO_THUMB_XL.jpg", "p1.jpg@SynoEAStream", "#recycle", "#snapshot", ".@__thumb", "@Recycle"),
    *(".dropbox", ".dropbox.cache", ".stfolder", ".stversions", "~syncthing~p1.jpg.tmp", ".sync", "p1.jpg.!sync"),
    *(".ipynb_checkpoints", "__pycache__", "p1.jpg~", ".p1.jpg.swp", "#p1.jpg#", "~$list.xlsx", "p1.jpg.crdownload"),
    *("p1.xmp", "P1.AAE", "P1.THM", "p1.jpg.pp3", "p1.jpg_original", "Picasa.ini", "PaxHeaders.123", "p1.jpg.json"),
    *("paxheaders.jpg", "synofile_thumb_1.png", "~syncthing~1.jpeg"),
)

DATA = (
    "p1.jpg",
    "Icons",
    "icon",
    "recycle",
    "cache",
    "masks",
    "cat~dog",
    "#1",
    "@home",
    "labels.csv",
    "a.b.jpg",
    "tmp",
)


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((12, 10), 80).convert("RGB").save(path, "JPEG")


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_known(name: str) -> None:
    assert is_junk(name)


@pytest.mark.parametrize("name", DATA)
def test_names_of_data_are_kept(name: str) -> None:
    assert not is_junk(name)


def test_dvc_ignores_the_same_names_below_data(tmp_path: Path) -> None:
    lines = (ROOT / ".dvcignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("/data/", "!/data/"))] == dvcignore_lines()
    (tmp_path / ".dvcignore").write_text("\n".join(lines), encoding="utf-8")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    ignored_below = ("p/.p1.jpg", "@eaDir/p1.jpg", "s/s/._1.png", "cat/paxheaders.jpeg")
    junk = [f"data/classification/{name}" for name in (*JUNK, *ignored_below)]
    ordinary = ("P1.JPG", "s/Sy.jpg", "pa.jpeg", "scene_1.png", "p/1.jpg", "été.jpg", "s x.webp")
    places = [*junk, *(f"data/{name}" for name in (*DATA, *ordinary)), *(f"photos/{name}" for name in JUNK[:20])]
    answer = subprocess.run(
        [*dvc, "check-ignore", *places], cwd=tmp_path, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    # A carriage return in a name ends a line of the answer.
    ignored = set(answer.stdout.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - {""}
    assert ignored == {place.strip("\r") for place in junk}


def test_junk_put_there_after_a_run_changes_no_stage(tmp_path: Path) -> None:
    (tmp_path / ".dvcignore").write_bytes((ROOT / ".dvcignore").read_bytes())
    (tmp_path / "dvc.yaml").write_text(
        "stages: {look: {cmd: echo seen > seen, deps: [data/classification], outs: [seen]}}"
    )
    photo(tmp_path / "data/classification/cat/1.jpg")

    def dvc(*words: str) -> str:
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    dvc("init", "--no-scm", "-q")
    dvc("add", "-q", "data")
    dvc("repro", "-q")
    for name in ("cat/.DS_Store", "cat/Thumbs.db", "__MACOSX/cat/._1.jpg", "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"):
        photo(tmp_path / "data/classification" / name)
    assert "up to date" in dvc("status")
    photo(tmp_path / "data/classification/cat/2.jpg")
    assert "changed" in dvc("status")


def test_every_door_passes_over_junk(tmp_path: Path) -> None:
    for root in (tmp_path / "classification", tmp_path / "images"):
        for name in ("cat/1.jpg", "dog/1.jpg", "dog/2.jpg", "cat/2.jpg"):
            photo(root / name)
        for name in ("._1.jpg", "SYNOPHOTO_THUMB_M.jpg", "1.jpg~", "@eaDir/1.jpg/a.jpg", ".stversions/1.jpg"):
            photo(root / "cat" / name)
        for name in ("__MACOSX/cat/._1.jpg", "#recycle/9.jpg", "@eaDir/cat/1.jpg"):
            photo(root / name)
    expected = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]
    layout = find_layout(tmp_path / "classification")
    assert layout.classes == ("cat", "dog")
    assert [candidate.image_id for candidate in layout.candidates] == expected
    assert layout.rejected == ()
    images = tmp_path / "images"
    assert [photo.name for photo in read_dataset(tmp_path).photos] == expected
    explained = find_photos([str(images)], lambda: (), tmp_path / "out").paths
    assert [path.relative_to(images).as_posix() for path in explained] == expected


def test_a_link_to_a_folder_is_followed_once_and_loops_end(tmp_path: Path) -> None:
    photo(tmp_path / "elsewhere" / "1.jpg")
    photos = tmp_path / "photos"
    photo(photos / "2.jpg")
    (photos / "2024").symlink_to(tmp_path / "elsewhere")
    (photos / "again").symlink_to(tmp_path / "elsewhere")
    (photos / "loop").symlink_to(photos)
    (tmp_path / "elsewhere" / "back").symlink_to(photos)
    found = find_photos([str(photos)], lambda: (), tmp_path / "out")
    assert [path.relative_to(photos).as_posix() for path in found.paths] == ["2.jpg", "2024/1.jpg"]
    assert found.problems == []


def test_files_below_are_listed_by_name_in_each_folder(tmp_path: Path) -> None:
    for name in ("b", "a/2", "a/1", "c/d/3", "a.x"):
        photo(tmp_path / name)
    (tmp_path / "c" / "gone").symlink_to("nowhere")
    names = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert names == ["a.x", "b", "a/1", "a/2", "c/gone", "c/d/3"]
