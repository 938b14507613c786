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
            path.write_bytes(b"x")
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
