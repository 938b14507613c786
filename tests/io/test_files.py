import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import (
    atomic_file,
    atomic_folder,
    read_json,
    require_free_space,
    reserve,
    telling_full_disk,
    write_json,
)


def crash(context: object) -> None:
    with context as temporary:  # type: ignore[attr-defined]
        if temporary.is_dir():
            (temporary / "half").write_text("half")
        else:
            temporary.write_text("half")
        raise RuntimeError("killed in the middle")


def test_failed_file_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        crash(atomic_file(target))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_failed_folder_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(RuntimeError):
        crash(atomic_folder(target))
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_new_folder_replaces_every_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("old")
    with atomic_folder(target) as temporary:
        (temporary / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_folder_is_there_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with atomic_folder(target) as temporary:
        (temporary / "new").write_text("new")
        assert not target.exists()
    assert (target / "new").read_text() == "new"


def test_json_keeps_key_order_and_rounds(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1 / 3, "a": [1, 2.00000049]})
    assert list(json.loads((tmp_path / "m.json").read_text())) == ["b", "a"]
    assert read_json(tmp_path / "m.json") == {"b": 0.333333, "a": [1, 2.0]}


def test_missing_json_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="dvc repro"):
        read_json(tmp_path / "m.json")


def test_broken_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(AtlasError, match=r"m\.json is not valid JSON"):
        read_json(tmp_path / "m.json")


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"the cache needs .* GB in .*: set fewer views"):
        require_free_space(tmp_path / "not" / "yet", 10**18, "the cache", "set fewer views")
    assert list(tmp_path.iterdir()) == []


def test_enough_space_is_silent(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1, "the cache", "set fewer views")


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def draw(path: Path) -> None:
    figure = Figure()
    figure.add_subplot().imshow(NOISE)
    figure.savefig(path)


WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "text": ("t.txt", lambda path: path.write_text("x" * 9000)),
    "json": ("t.json", lambda path: write_json(path, list(range(9000)))),
    "pandas": ("t.csv", lambda path: pd.DataFrame({"a": range(9000)}).to_csv(path)),
    "numpy": ("t.npz", lambda path: np.savez(path, NOISE)),
    "pillow": ("t.png", lambda path: Image.fromarray(NOISE).save(path)),
    "matplotlib": ("f.png", draw),
    "torch": ("t.pt", lambda path: torch.save({"a": torch.zeros(9000)}, path)),
    "safetensors": ("t.safetensors", lambda path: save_file({"a": torch.zeros(9000)}, path)),
    "reserve": ("t.f16", lambda path: reserve(path, 9000)),
}


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let the kernel refuse, for the whole process, what would make a file larger than ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("writer", list(WRITERS))
def test_a_write_that_is_refused_is_one_sentence_whoever_writes(tmp_path: Path, writer: str) -> None:
    name, write = WRITERS[writer]
    target = tmp_path / name
    target.write_bytes(b"old")
    sentence = f"{name} could not be written: (File too large|the disk took only a part of it) .*free some space"
    with pytest.raises(AtlasError, match=sentence), no_file_beyond(4096), atomic_file(target) as temporary:
        write(temporary)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_outside_an_output_is_told_too(tmp_path: Path) -> None:
    full = pytest.raises(AtlasError, match=r"a file could not be written: No space left on device \(.* MB are free")
    with full, telling_full_disk():
        raise RuntimeError("while saving") from OSError(errno.ENOSPC, "No space left on device")
    used_up = pytest.raises(AtlasError, match=f"^{tmp_path}/x could not be written: Disk quota exceeded")
    with used_up, telling_full_disk():
        raise OSError(errno.EDQUOT, "Disk quota exceeded", str(tmp_path / "x"))


@pytest.mark.parametrize("error", [ValueError("x"), OSError(13, "Permission denied"), RuntimeError("y")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, telling_full_disk():
        raise error
    assert raised.value is error


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from vit_atlas.io.files import atomic_file, atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1]) / 'out'), atomic_file(Path(sys.argv[1]) / 'out.json') as file:\n"
        "    file.write_text('half'); os.kill(os.getpid(), 9)"
    )
    other = tmp_path / ".out.mine"
    other.touch()
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], env=os.environ)
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 3
    with atomic_folder(tmp_path / "out"), atomic_file(tmp_path / "out.json") as living:
        with atomic_file(tmp_path / "out.json") as second:
            second.write_text("second")
        assert living.exists()
        living.write_text("first")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.mine", "out", "out.json"]
    assert (tmp_path / "out.json").read_text() == "first"


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_a_folder_does_not_take_the_place_of_something_else(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to("gone")
    with pytest.raises(AtlasError, match="is to be a folder"), atomic_folder(target):
        pytest.fail("nothing is made before")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
