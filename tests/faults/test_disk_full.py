"""A full disk: a stage ends with one sentence, and what it wrote before stays whole."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.faults.conftest import Workshop, hashes

STAGES = ["prepare", "finetune", "evaluate", "embed_viz", "attn_viz", "caption_train", "caption_attn", "report"]
LATER = ["evaluate", "embed_viz", "attn_viz", "caption_attn", "report"]
OLD = b"old"


@pytest.fixture(scope="session")
def finished(root: Path, trained: Path, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("finished") / "project")
    shutil.copy(root / "dvc.yaml", folder)
    for stage in LATER:
        ended = workshop.run(folder, stage)
        assert ended.code == 0, ended.output
    return folder


@pytest.fixture
def small_disk(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A file system in memory, with a copy of the finished project and twice its room."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "disk"
    place.mkdir()
    size = 2 * sum(path.stat().st_size + 4096 for path in finished.rglob("*"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        yield shutil.copytree(finished, place / "project")
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def outs_of(folder: Path, script: str) -> list[str]:
    """The outs of a stage, as dvc.yaml names them."""
    stage = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"][script.replace("_", "-")]
    return [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]


def fill(disk: Path, free: int) -> None:
    """Fill a file system up to ``free`` bytes."""
    room = shutil.disk_usage(disk).free - free
    with (disk / "filling").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room // 4096 * 4096)


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("script", STAGES)
def test_old_outs_stay_whole_and_one_sentence_says_what_was_missing(
    small_disk: Path, workshop: Workshop, script: str, share: float
) -> None:
    outs = outs_of(small_disk, script)
    new = hashes(small_disk, *outs)
    assert new, "the stage has outs"
    for name in new:  # So that old and new differ, where the stage would write the same again.
        path = small_disk / name
        if path.suffix not in {".json", ".csv", ".safetensors"} or script == "prepare":
            path.write_bytes(path.read_bytes() + OLD)
    old = hashes(small_disk, *outs)
    largest = max(sum((small_disk / name).stat().st_size for name in new if name.startswith(out)) for out in outs)
    fill(small_disk.parent, int(share * largest))

    ended = workshop.run(small_disk, script)
    assert ended.code == 1, ended.output
    assert "Traceback" not in ended.output
    (sentence,) = [line for line in ended.output.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in sentence or " GB are free" in sentence, sentence
    assert "free some" in sentence or "set captioner.image_size" in sentence, sentence

    left = hashes(small_disk, *outs)
    assert set(left) == set(old), "a file came or went"
    assert all(left[name] in (old[name], new[name]) for name in old), "half a file"
    hidden = [path for place in ("build", "metrics", "plots", "report") for path in (small_disk / place).rglob(".*")]
    assert not hidden, "a temporary name was left behind"
    begun = (small_disk / ".checkpoints").glob("*/checkpoint-*")
    assert all((path / "complete.json").exists() for path in begun), "half a checkpoint takes room"

    (small_disk.parent / "filling").unlink()
    if share:
        again = workshop.run(small_disk, script)
        assert again.code == 0, again.output
        assert hashes(small_disk, *outs) == new, "with room again, it ends as if nothing had been"
