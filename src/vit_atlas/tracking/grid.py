"""Pictures in MLflow's Image Grid, where those of several runs stand side by side under one key."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vit_atlas.tracking.artifacts import Artifact
from vit_atlas.tracking.client import Connection

GROUP = "atlas pictures"
"""The grid's group; by the alphabet it comes right after that of the numbers to compare."""
FOLDERS = ("", "figures", "figures/attention")
"""Folders of artifacts whose pictures are shown, those to compare first."""
MOST = 12
"""Pictures of a run in the grid: each is two uploads."""
SIDE = 800
"""Longest side in pixels. The grid reads copies of its own alone, so they are small; the picture is an artifact."""


def log_pictures(connection: Connection, run_id: str, artifacts: Sequence[Artifact]) -> list[str]:
    """Give the run ``run_id`` those pictures for the Image Grid that it lacks; returns the keys of all."""
    listed = [item.path.rsplit("/", 1)[-1] for item in connection.client.list_artifacts(run_id, "images")]
    # The thumbnail comes last, and MLflow has spelled these names in two ways: KEY+step+0+..., and with % for the +.
    held = {re.split(r"[+%]step[+%]", name)[0].replace("#", "~") for name in listed if name.endswith(".webp")}
    pictures = grid_pictures(artifacts)
    for key, path in pictures:
        if key.replace("/", "~") not in held:
            with Image.open(path) as image:
                small = image.convert("RGB")
            small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            connection.client.log_image(run_id, small, key=key, step=0)
    return [key for key, _ in pictures]


def grid_pictures(artifacts: Sequence[Artifact]) -> list[tuple[str, Path]]:
    """Choose at most :data:`MOST` pictures; each with its key, such as ``atlas pictures/attention cat_1``."""
    return [
        (_key(artifact), artifact.path)
        for folder in FOLDERS
        for artifact in artifacts
        if artifact.folder == folder and artifact.name.endswith(".png")
    ][:MOST]


def _key(artifact: Artifact) -> str:
    words = f"{artifact.folder.removeprefix('figures').strip('/')} {artifact.name.removesuffix('.png')}"
    # The characters that MLflow allows; file names of pictures have no others.
    return f"{GROUP}/{words.strip()}"
