"""Archives write inside their folder only, and no more than they should."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets.utils import extract_archive

from vit_atlas.data import pets
from vit_atlas.data.stickers import fetch
from vit_atlas.data.stickers.catalogue import Stamp
from vit_atlas.errors import AtlasError

OWL = Stamp("birds/owl.png", "0" * 64, "bird", "train", "owl", "", "any")
INSIDE = "./usr/share/tuxpaint/stamps/birds/owl.png"


def file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def tar(members: list[tuple[tarfile.TarInfo, bytes]], path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return path


def hostile(outside: Path) -> dict[str, list[tuple[tarfile.TarInfo, bytes]]]:
    """Archives that try to write ``outside``, which lies two folders above where they are unpacked."""
    return {
        "parent": [file("../../outside")],
        "absolute": [file(str(outside))],
        "symbolic link": [link("door", "../.."), file("door/outside")],
        "absolute link": [link("door", str(outside.parent)), file("door/outside")],
        "hard link": [link("door", "../../secret", tarfile.LNKTYPE)],
    }


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("mine")
    return tmp_path


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="this Python's tarfile has no filters (3.11.4 has)")
@pytest.mark.parametrize("name", hostile(Path("/x")))
def test_the_pets_archive_cannot_write_outside(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(place / "cache"))
    monkeypatch.setattr(pets, "NEEDED_BYTES", 0)
    archive = tar(hostile(place / "outside")[name], place / "pets.tar.gz", "w:gz")

    def download(root: Path, download: bool) -> None:
        assert download
        (place / "cache" / "unpacked").mkdir(parents=True)
        extract_archive(str(archive), str(place / "cache" / "unpacked"))
        raise OSError("nothing was refused")

    monkeypatch.setattr("torchvision.datasets.OxfordIIITPet", download)
    before = tarfile.TarFile.extraction_filter
    with pytest.raises(AtlasError, match="could not be downloaded") as caught:
        pets.write_pets(place / "data", lambda line: None)
    assert name == "absolute" or "nothing was refused" not in str(caught.value)  # its slash is dropped: it stays inside
    assert not (place / "outside").exists()
    assert (place / "secret").read_text() == "mine"
    assert tarfile.TarFile.extraction_filter is before


@pytest.fixture
def package(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], str]:
    """Unpack these members as the stamps' package would be; return what it says."""

    class Tool(subprocess.Popen):
        def __init__(self, command: list[str], **options: object) -> None:
            super().__init__(["cat", command[-1]], **options)

    monkeypatch.setattr(fetch.subprocess, "Popen", Tool)

    def unpack(members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
        path = tar(members, place / "package.deb")
        return fetch._unpack(path, place / "a" / "b", {fetch.INSTALLED / OWL.path})

    return unpack


@pytest.mark.parametrize("name", hostile(Path("/x")))
def test_the_stamps_package_writes_the_wanted_pictures_and_nothing_else(
    name: str, place: Path, package: Callable[[list[tuple[tarfile.TarInfo, bytes]]], str]
) -> None:
    assert package([*hostile(place / "outside")[name], file(INSIDE, b"owl")]) == ""
    assert not (place / "outside").exists()
    written = [path for path in (place / "a").rglob("*") if not path.is_dir()]
    assert [path.relative_to(place / "a" / "b").as_posix() for path in written] == [INSIDE.removeprefix("./")]
    assert written[0].read_bytes() == b"owl"


def test_a_link_in_a_pictures_place_is_not_followed(
    place: Path, package: Callable[[list[tuple[tarfile.TarInfo, bytes]]], str]
) -> None:
    assert package([link(INSIDE, "/etc/passwd")]) == ""
    assert fetch.first_mismatch(place / "a" / "b" / "usr/share/tuxpaint/stamps", (OWL,)).endswith("does not exist")


def test_a_package_that_never_ends_is_given_up(
    package: Callable[[list[tuple[tarfile.TarInfo, bytes]]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LARGEST_PACKAGE", 10_000)
    assert package([file(f"./{number}", bytes(4000)) for number in range(5)]) == "it holds more than 0 GB"


def test_a_package_that_is_no_archive_is_told(
    place: Path, package: Callable[[list[tuple[tarfile.TarInfo, bytes]]], str]
) -> None:
    (place / "noise.deb").write_bytes(b"no archive at all")
    assert fetch._unpack(place / "noise.deb", place / "b", set()).startswith("it holds no readable archive")
