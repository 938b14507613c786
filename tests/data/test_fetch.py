"""The cut-outs are found where they are, checked by their own hashes, and their absence is told with the way out."""

import hashlib
import shutil
from pathlib import Path

import pytest

from vit_atlas.data.stickers import fetch
from vit_atlas.data.stickers.catalogue import Stamp, stamps
from vit_atlas.errors import AtlasError

CONTENT = b"a picture"
TABLE = (Stamp("birds/owl.png", hashlib.sha256(CONTENT).hexdigest(), "bird", "train", "owl", "", "any"),)


def silent(line: str) -> None:
    del line


def put(folder: Path, content: bytes = CONTENT) -> Path:
    (folder / "birds").mkdir(parents=True)
    (folder / "birds" / "owl.png").write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package installed, an empty cache, and no package manager."""
    monkeypatch.delenv("VIT_ATLAS_STAMPS", raising=False)
    monkeypatch.setenv("VIT_ATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "INSTALLED", tmp_path / "usr/share/tuxpaint/stamps")
    monkeypatch.setattr(shutil, "which", lambda tool: None)


def test_the_installed_package_is_used(tmp_path: Path) -> None:
    put(fetch.INSTALLED)
    assert fetch.find_stamps(TABLE, silent) == fetch.INSTALLED


def test_an_installed_package_of_another_version_gives_way_to_the_cache(tmp_path: Path) -> None:
    put(fetch.INSTALLED, b"another picture")
    put(tmp_path / "cache" / "stamps")
    assert fetch.find_stamps(TABLE, silent) == tmp_path / "cache" / "stamps"


def test_a_chosen_folder_with_other_bytes_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(fetch.INSTALLED)
    monkeypatch.setenv("VIT_ATLAS_STAMPS", str(put(tmp_path / "mine", b"x")))
    with pytest.raises(AtlasError, match=r"VIT_ATLAS_STAMPS is .*mine, but .*owl\.png has other bytes"):
        fetch.find_stamps(TABLE, silent)


def test_without_apt_the_tarball_and_the_other_data_sets_are_named() -> None:
    with pytest.raises(AtlasError) as caught:
        fetch.find_stamps(TABLE, silent)
    for words in ("apt-get", "tuxpaint-stamps-2022.06.04.tar.gz", "VIT_ATLAS_STAMPS", "vit-atlas data pets"):
        assert words in str(caught.value)


def fake_tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


@pytest.fixture
def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that knows the package only after `update` into private lists, and a dpkg-deb that unpacks an owl."""
    tools = tmp_path / "bin"
    tools.mkdir()
    fake_tool(
        tools,
        "apt-get",
        f'echo "$@" >> {tmp_path}/log\n'
        f'case "$*" in *update*) touch {tmp_path}/known;; '
        f"*) if [ -f {tmp_path}/known ]; then echo deb > tuxpaint-stamps-default_1_all.deb; "
        'else echo "E: Unable to locate package" >&2; exit 100; fi;; esac\n',
    )
    target = tmp_path / "package"
    put(Path(f"{target}{fetch.INSTALLED}"))
    fake_tool(tools, "dpkg-deb", f'[ "$1" = --fsys-tarfile ] && exec tar --create --directory {target} .\n')
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(shutil, "which", lambda tool: str(tools / tool))
    return tmp_path / "log"


def test_the_package_is_downloaded_with_private_lists_and_kept_in_the_cache(fake_apt: Path, tmp_path: Path) -> None:
    found = fetch.find_stamps(TABLE, silent)
    assert found == tmp_path / "cache" / "stamps"
    assert (found / "birds" / "owl.png").read_bytes() == CONTENT
    calls = fake_apt.read_text().splitlines()
    assert calls[0].split()[-2:] == ["download", fetch.PACKAGE]
    assert "Dir::State::lists=" in calls[1]
    assert calls[1].endswith("update")
    assert "Dir::Cache=" in calls[2]
    fake_apt.unlink()
    assert fetch.find_stamps(TABLE, silent) == found
    assert not fake_apt.exists()


def test_a_package_with_other_pictures_leaves_nothing_in_the_cache(fake_apt: Path, tmp_path: Path) -> None:
    other = (Stamp("birds/owl.png", "0" * 64, "bird", "train", "owl", "", "any"),)
    with pytest.raises(AtlasError, match=r"another version \(.*owl\.png has other bytes"):
        fetch.find_stamps(other, silent)
    assert not (tmp_path / "cache" / "stamps").exists()


def test_a_failed_download_gives_apts_own_reason(fake_apt: Path, tmp_path: Path) -> None:
    fake_tool(tmp_path / "bin", "apt-get", 'echo "E: Could not resolve host" >&2; exit 100\n')
    with pytest.raises(AtlasError, match=r"could not download tuxpaint-stamps-default .*Could not resolve host"):
        fetch.find_stamps(TABLE, silent)


def test_the_table_lists_pngs_with_hashes() -> None:
    assert all(stamp.path.endswith(".png") and len(stamp.sha256) == 64 for stamp in stamps())
