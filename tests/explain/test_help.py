import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

HEAVY = {"torch", "transformers", "torchvision", "mlflow", "sklearn", "matplotlib", "onnx"}


def test_help_of_explain_loads_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["vit-atlas", "explain", "--help"]
from vit_atlas.cli import app
try:
    app()
except SystemExit:
    pass
sys.stderr.write(" ".join(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--method" in done.stdout
    assert not HEAVY & {name.split(".")[0] for name in done.stderr.split()}


def test_mistakes_are_told_before_anything_heavy_is_loaded() -> None:
    code = """
import sys
sys.argv = ["vit-atlas", "explain", "nowhere-at-all.jpg"]
from vit_atlas.cli import app
try:
    app()
except SystemExit as end:
    sys.stderr.write(f"\\n{end.code} " + " ".join(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, _, rest = done.stderr.partition("\n")
    assert first.startswith("error: nowhere-at-all.jpg does not exist")
    assert rest.lstrip().startswith("1 ")
    assert not HEAVY & {name.split(".")[0] for name in rest.split()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "./nowhere"], "--model is ./nowhere, and no folder has that name"),
        (["--model", "empty"], "--model is the folder empty, which holds no config.json"),
        (["--model", "bare"], "--model is the folder bare, which has no preprocessor_config.json"),
        ([], "build/model holds no model: run `dvc repro finetune` first"),
        (["--model", "whole", "--captioner", "nowhere"], "--captioner nowhere is no folder"),
    ],
)
def test_a_model_that_is_not_there_is_told_before_torch_is_loaded(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    Image.new("RGB", (30, 30)).save(tmp_path / "photo.png")
    for name, files in {
        "empty": [],
        "bare": ["config.json"],
        "whole": ["config.json", "preprocessor_config.json"],
    }.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("{}")
    code = "import sys; from vit_atlas.cli import app\ntry: app()\nfinally: print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "explain", "photo.png", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stdout.strip() == "False"
