"""A project in an empty folder: this repository's pipeline, tiny photos, a tiny random ViT, git and DVC."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.tiny_settings import params_text

CODE = ("dvc.yaml", ".gitignore", ".dvcignore", "stages", "src", "conf")
STAGES = [
    "prepare",
    "finetune",
    "evaluate",
    "embed-viz",
    "attn-viz",
    "interventions",
    "gallery",
    "suspects",
    "caption-train",
    "caption-attn",
    "metrics",
    "report",
]
COLOURS = {"blue": (30, 60, 200), "green": (30, 180, 60), "red": (200, 40, 30)}
TINY_SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"name": "tiny-vit", "image_size": 32},
    "finetune": {"epochs": 2, "batch_size": 8, "trainable_blocks": 1, "cached_views": 1, "learning_rate": 0.003},
    "evaluate": {"bootstrap_samples": 100, "mistakes": 4},
    "attention": {
        "count": 2,
        "scored_photos": 3,
        "faithfulness_photos": 1,
        "faithfulness_steps": 1,
        "bootstrap_samples": 100,
    },
    "interventions": {"photos": 3, "drawn": 2, "bootstrap_samples": 100},
    "gallery": {"photos": 12, "thumbnails": 2},
    "captioner": {
        "layers": [-1],
        "width": 16,
        "heads": 2,
        "encoder_layers": 0,
        "decoder_layers": 1,
        "minimum_count": 1,
        "epochs": 1,
        "batch_size": 8,
    },
    "captions": {"beams": 1, "max_length": 5, "count": 2},
}


@dataclass(frozen=True)
class Project:
    """A folder with the pipeline in it, and the commands a user would type there."""

    folder: Path
    python: Path = Path(sys.executable).parent
    """Where the `python` is that runs the stages; see :mod:`tests.forking`."""

    def environment(self) -> dict[str, str]:
        """The environment of the project's commands: this Python first, nobody's settings, no network, one thread.

        Bytes are the same only with the same number of threads, and so small a model is fastest with one.
        """
        own = ("MLFLOW_", "GIT_", "DVC_")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        return environment | {
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join([str(self.python), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "HF_HUB_OFFLINE": "1",
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; a failure shows what it printed."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True)
        if check and done.returncode != 0:
            printed = f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            pytest.fail(f"{' '.join(command)} exited with {done.returncode}\n{printed}")
        return done

    def repro(self) -> list[str]:
        """`dvc repro`; returns the names of the stages whose command ran."""
        return re.findall(r"Running stage '([\w@-]+)'", self.run("dvc", "repro").stdout)

    def changed_stages(self) -> set[str]:
        """The stages that `dvc status` calls changed because of their own params, deps or outs."""
        return set(json.loads(self.run("dvc", "status", "--json").stdout))

    def commit(self, message: str) -> None:
        """Commit all that git tracks or should."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def set(self, section: str, **values: Any) -> None:
        """Change settings in params.yaml."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params[section] |= values
        path.write_text(yaml.safe_dump(params, sort_keys=False))

    def runs(self) -> list[dict[str, Any]]:
        """What MLflow holds of the project's results (a copied project's earlier runs lie in another experiment)."""
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("vit-atlas")
        found = client.search_runs([experiment.experiment_id] if experiment else [])
        return [
            {
                "status": run.info.status,
                "params": run.data.params,
                "metrics": run.data.metrics,
                "models": len(run.outputs.model_outputs if run.outputs else []),
            }
            for run in found
        ]

    def json(self, path: str) -> Any:
        """Read a JSON file of the project."""
        return json.loads((self.folder / path).read_text())


def disc(noise: np.random.Generator, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A coloured disc on noise, 40x32 pixels, and the disc's mask."""
    rows, columns = np.mgrid[:32, :40]
    pixels = noise.integers(60, 196, (32, 40, 3), dtype=np.uint8)
    centre = noise.integers(8, 24, 2)
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 49
    pixels[mask] = colour
    return pixels, mask


def write_photos(folder: Path, photos: int, seed: int = 0) -> None:
    """Photos of three classes that a colour tells apart, in `<class>/` folders, with masks in `masks/`."""
    noise = np.random.default_rng(seed)
    (folder / "masks").mkdir(parents=True)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(photos):
            pixels, mask = disc(noise, colour)
            Image.fromarray(pixels).save(folder / name / f"{name}_{number}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{name}_{number}.png")


def write_captions(folder: Path) -> None:
    """Photos with one caption and one masked noun each, in the layout of data/captioning."""
    noise = np.random.default_rng(7)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    captions, objects = ["image,caption,split"], []
    for split, photos in (("train", 12), ("val", 3), ("test", 3)):
        for number in range(photos):
            colour = list(COLOURS)[number % 3]
            name = f"{split}_{number}.png"
            pixels, mask = disc(noise, COLOURS[colour])
            Image.fromarray(pixels).save(folder / "images" / name)
            Image.fromarray(mask).save(folder / "masks" / name)
            captions.append(f"{name},a {colour} disc,{split}")
            objects.append(json.dumps({"image": name, "noun": "disc", "mask": f"masks/{name}"}))
    (folder / "captions.csv").write_text("\n".join(captions) + "\n")
    (folder / "objects.jsonl").write_text("\n".join(objects) + "\n")


def write_tiny_vit(folder: Path) -> None:
    """A random ViT of two blocks, in the form that `from_pretrained` reads."""
    from tests.tiny_models import save_tiny

    save_tiny(folder, labels="abc", hidden_size=32, num_hidden_layers=2, intermediate_size=64)


def make_project(root: Path, folder: Path, python: Path = Project.python) -> Project:
    """Lay out a project with data that DVC tracks, everything committed, nothing run."""
    folder.mkdir(parents=True)
    for name in CODE:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(root / name, folder / name)
    project = Project(folder, python)
    (folder / "params.yaml").write_text(params_text(**TINY_SETTINGS))
    write_photos(folder / "data" / "classification", photos=12)
    write_captions(folder / "data" / "captioning")
    write_tiny_vit(folder / "tiny-vit")
    (folder / ".gitignore").open("a").write("/tiny-vit/\n")
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("dvc", "init", "--quiet")
    project.run("dvc", "config", "core.analytics", "false")
    project.run("dvc", "add", "--quiet", "data")
    project.commit("data and pipeline")
    return project
