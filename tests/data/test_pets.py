"""The official pets land in the published layout, or nothing is written and the reason is told."""

from pathlib import Path
from urllib.error import URLError

import pytest

from vit_atlas.data.pets import write_pets
from vit_atlas.errors import AtlasError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("vit_atlas.data.pets.NEEDED_BYTES", 0)
    return tmp_path / "cache"


def silent(line: str) -> None:
    del line


def test_images_and_annotations_are_moved_and_the_archives_go_and_once_is_enough(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = []

    def download(root: Path, download: bool) -> None:
        assert download
        downloads.append(root)
        for name in ("images/Abyssinian_1.jpg", "annotations/trainval.txt", "annotations/test.txt"):
            path = root / "oxford-iiit-pet" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"Abyssinian_1 1 1 1\n")
        (root / "oxford-iiit-pet" / "images.tar.gz").write_bytes(b"x")

    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet", download)
    assert write_pets(tmp_path / "data/classification", silent) == 1
    found = sorted(path.name for path in (tmp_path / "data/classification").iterdir())
    assert found == ["annotations", "images"]
    assert not any(cache.iterdir())
    assert write_pets(tmp_path / "data/classification", silent) == 1
    assert len(downloads) == 1
    write_pets(tmp_path / "data/classification", silent, replace=True)
    assert len(downloads) == 2
    (tmp_path / "data/classification/annotations/test.txt").unlink()
    with pytest.raises(AtlasError, match="--replace"):
        write_pets(tmp_path / "data/classification", silent)


def fill(folder: Path, name: str = "Abyssinian_1") -> None:
    for path in (folder / "annotations/trainval.txt", folder / "annotations/test.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Abyssinian_1 1 1 1\n")
    (folder / "images").mkdir()
    (folder / "images" / f"{name}.jpg").write_bytes(b"x")


def test_a_part_is_not_the_whole_and_a_file_not_a_folder(tmp_path: Path) -> None:
    fill(tmp_path / "part", "Abyssinian_2")
    (tmp_path / "file").write_bytes(b"mine")
    for name in ("part", "file"):
        with pytest.raises(AtlasError, match=r"--replace|is to be a folder"):
            write_pets(tmp_path / name, silent)
    with pytest.raises(AtlasError, match="is to be a folder"):
        write_pets(tmp_path / "file", silent, replace=True)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_what_an_unpacking_that_was_cut_off_left_is_unpacked_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = cache / "oxford-iiit-pet-download" / "oxford-iiit-pet"
    (left / "annotations/trimaps").mkdir(parents=True)
    (left / "images").mkdir()

    def unpack(root: Path, download: bool) -> None:
        """As torchvision's: where both folders are there, nothing is done."""
        if not (left / "annotations").exists():
            fill(left)

    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet", unpack)
    assert write_pets(tmp_path / "pets", silent) == 1
    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet", lambda root, download: fill(left, "Abyssinian_2"))
    with pytest.raises(AtlasError, match="lack photos or lists"):
        write_pets(tmp_path / "half", silent)
    assert not (tmp_path / "half").exists()


def test_without_network_the_folder_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: Path, download: bool) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet", fail)
    with pytest.raises(
        AtlasError, match=r"could not be downloaded \(.*Name or service not known.*\): check the network"
    ):
        write_pets(tmp_path / "data/classification", silent)
    assert not (tmp_path / "data/classification").exists()


def test_own_photos_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"x")
    with pytest.raises(AtlasError, match="--replace"):
        write_pets(tmp_path, silent)
