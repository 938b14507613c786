"""`vit-atlas data check` names what DVC cannot store, and DVC stores the rest."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.data.broken_files import jpeg
from vit_atlas.cli.data import app
from vit_atlas.data.storable import not_storable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes with everything that DVC cannot store among the photos."""
    monkeypatch.chdir(tmp_path)
    root = Path("data/classification")
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            (root / name / f"{number}.jpg").write_bytes(jpeg((30, 20)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "5.jpg").write_bytes(jpeg((30, 20)))
    (root / "cat" / "gone.jpg").symlink_to("deleted.jpg")
    (root / "cat" / "loop.jpg").symlink_to("loop.jpg")
    (root / "cat" / "single.jpg").symlink_to(tmp_path / "elsewhere" / "5.jpg")
    (root / "dog" / "2024").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(root / "dog" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "dog" / "socket"))
    (root / "dog" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg((30, 20)))
    (root / "dog" / ".stfolder").symlink_to("nowhere")
    return root


def test_everything_that_dvc_cannot_store_is_named(folder: Path) -> None:
    named = dict(not_storable(folder))
    assert {name: reason.split(":")[0] for name, reason in named.items()} == {
        "cat/gone.jpg": "a link to deleted.jpg, which does not exist",
        "cat/loop.jpg": "a link that leads to itself",
        "dog/2024": "a link to a folder",
        "dog/caf\\udce9.jpg": "a name that is not valid UTF-8, on which `dvc add` fails",
        "dog/pipe.jpg": "a named pipe, for which `dvc add` waits for ever",
        "dog/socket": "a socket, on which `dvc add` fails",
    }


def test_dvc_stores_what_is_not_named(folder: Path, tmp_path: Path) -> None:
    for name, _ in not_storable(folder):
        os.unlink(os.fsencode(folder) + b"/" + name.encode().replace(b"\\udce9", b"\xe9"))  # noqa: PTH108
    assert not_storable(folder) == []
    ignored = Path(__file__).resolve().parents[2] / ".dvcignore"
    (tmp_path / ".dvcignore").write_bytes(ignored.read_bytes())
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True, timeout=100)
    (listing,) = (tmp_path / ".dvc" / "cache").rglob("*.dir")
    stored = {item["relpath"] for item in json.loads(listing.read_text())}
    expected = {f"classification/{name}/{number}.jpg" for name in ("cat", "dog") for number in range(4)}
    assert stored == expected | {"classification/cat/single.jpg"}


def test_check_says_it_first_and_goes_on(folder: Path) -> None:
    lines = CliRunner().invoke(app, ["check", str(folder)]).stdout.splitlines()
    assert lines[0] == "DVC cannot store (6):"
    assert lines[1].startswith("  cat/gone.jpg: a link to deleted.jpg, which does not exist")
    assert any("image-folder, 2 classes, 10 photos" in line for line in lines)


@pytest.mark.parametrize("count", [0, 60])
def test_a_folder_without_such_files_is_not_mentioned(folder: Path, count: int) -> None:
    for path in (*folder.rglob("*"), *folder.parent.rglob("caf*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()) or "caf" in path.name:
            path.unlink(missing_ok=True)
    for number in range(count):
        (folder / "cat" / f"gone {number}.jpg").symlink_to("nowhere")
    printed = CliRunner().invoke(app, ["check", str(folder)]).stdout
    assert ("DVC cannot store" in printed) == bool(count)
    assert ("  ... and 20 more" in printed) == bool(count)
