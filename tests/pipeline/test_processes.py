"""Stages that ask the model: several processes share the photos, and write what one writes."""

import sys

from tests.project import Project

# Of two processes the first runs the stages alone at first, while the other waits: imports are most of the time.
SHARED = """
import os, runpy, shutil
from contextlib import contextmanager
from pathlib import Path

import yaml

from vit_atlas import processes
from vit_atlas.attention import collect
from vit_atlas.captioning.measure import describe
from vit_atlas.page_data import gallery

collect.TOKENS, describe.BATCH, gallery.BATCH = 1, 2, 5  # So that photos make several batches.

STAGES = ["evaluate", "attn-viz", "interventions", "gallery", "caption-attn"]

def run():
    for stage in STAGES:
        runpy.run_path(f"stages/{stage.replace('-', '_')}.py", run_name="__main__")

if os.environ["RANK"] == "0":
    count = os.environ.pop("WORLD_SIZE")
    run()
    for stage in STAGES:
        for out in yaml.safe_load(Path("dvc.yaml").read_text())["stages"][stage]["outs"]:
            Path("alone", out).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(out, Path("alone", out))
    os.environ["WORLD_SIZE"] = count

@contextmanager
def joined_already():
    yield
    processes.wait_for_all()

with processes.joined():
    processes.joined = joined_already  # What torchrun started joins once.
    run()
"""


def test_two_processes_write_what_one_writes(project: Project) -> None:
    project.set("evaluate", batch_size=3)
    project.set("attention", faithfulness_photos=3)
    (project.folder / "shared.py").write_text(SHARED)
    project.run(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "shared.py")
    alone = project.folder / "alone"
    files = [path.relative_to(alone) for path in alone.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert [str(path) for path in files if (project.folder / path).read_bytes() != (alone / path).read_bytes()] == []
