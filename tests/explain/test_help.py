import subprocess
import sys

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
