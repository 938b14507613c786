"""What the stages import when they start: what they surely use, since imports are most of a small stage's time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import STAGES

TORCH = {"torch", "transformers", "torchvision"}
NEVER = {
    "IPython",
    "matplotlib.pyplot",
    "mlflow",
    "open_clip",
    "pytorch_grad_cam",
    "scipy.signal",
    "sklearn",
    "timm",
    "torchmetrics",
    "umap",
}
"""Slow to import, and needed by a part of a stage at most: they are imported there."""

LIGHT = ("prepare", "metrics")
LIGHT_DRAWN = ("suspects",)
UNDRAWN = ("finetune", "repeat", "caption_train")
BARRED = {
    "light": (LIGHT, NEVER | TORCH),
    "undrawn": (UNDRAWN, NEVER | {"matplotlib"}),
    "others": ((), NEVER),
    "light and drawn": (LIGHT_DRAWN, NEVER | TORCH),
}


@pytest.mark.parametrize("chosen", [("light", "undrawn", "others"), ("light and drawn",)], ids="; ".join)
def test_stages_import_what_they_use(root: Path, chosen: tuple[str, ...]) -> None:
    """One process imports the stages group by group, and tells after each what is loaded that should not be."""
    scripts = {path.stem for path in (root / "stages").glob("*.py")}
    assert {name.replace("-", "_") for name in STAGES} <= scripts
    others = sorted(scripts - {*LIGHT, *LIGHT_DRAWN, *UNDRAWN})
    groups = [(name, BARRED[name][0] or others, sorted(BARRED[name][1])) for name in chosen]
    code = f"""
import importlib, json, sys
sys.path.insert(0, "stages")
found = {{}}
for name, stages, barred in {groups!r}:
    for stage in stages:
        importlib.import_module(stage)
        if wrong := [module for module in barred if module in sys.modules]:
            found[stage] = wrong
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {}
