"""`vit-atlas data check` tells what prepare would do and writes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tiny_settings import params_text
from vit_atlas.cli.data import app


def test_check_prints_layout_counts_and_what_would_be_left_out(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (two_classes / "cat" / "empty.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["check", "photos"])
    assert result.exit_code == 0
    assert "photos: image-folder, 2 classes, 20 photos (14 train, 2 val, 4 test), 0 masks" in result.stdout
    assert "left out (1):\n  cat/empty.jpg: the file is empty (zero bytes)" in result.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_check_of_an_unusable_folder_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    code = "import sys; from vit_atlas.cli import app; sys.argv = ['vit-atlas', 'data', 'check', 'nothing']; app()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing is not a folder")
    assert done.stderr.count("\n") == 1


def test_check_reads_the_projects_own_settings(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(params_text(data={"test_fraction": 0.5, "val_fraction": 0.2}))
    result = CliRunner().invoke(app, ["check", "photos"])
    assert "(8 train, 2 val, 10 test)" in result.stdout


def test_check_of_photos_with_captions_tells_what_a_captioner_would_use(two_classes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "captioning"
    folder.mkdir()
    (two_classes / "cat").rename(folder / "images")
    (folder / "images" / "empty.jpg").write_bytes(b"")
    names = sorted(path.name for path in (folder / "images").iterdir())
    (folder / "Captions.csv").write_text("image,caption\n" + "".join(f"{name},a cat\n" for name in names[1:]))
    result = CliRunner().invoke(app, ["check", str(folder)])
    assert result.exit_code == 0
    assert f"{folder}: captions, {len(names) - 1} photos (" in result.stdout
    assert "1 without a caption)" in result.stdout
    assert "left out (1):\n  empty.jpg: the file is empty (zero bytes)" in result.stdout


def test_check_of_the_captioning_folder_needs_no_captions(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = next(path for path in two_classes.rglob("*") if path.is_file())
    images = tmp_path / "data/captioning/images"
    images.mkdir(parents=True)
    (images / photo.name).write_bytes(photo.read_bytes())
    result = CliRunner().invoke(app, ["check", "data/captioning"])
    assert result.exit_code == 0, result.output
    assert "captions, 1 photos (0 train, 0 val, 0 test, 1 without a caption), 0 captions" in result.output
