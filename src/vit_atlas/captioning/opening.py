"""From build/captioner to the captioner that it holds or names."""

from pathlib import Path

from vit_atlas.captioning.model.captioner import Captioner
from vit_atlas.captioning.model.trained import DESCRIPTION, load_captioner
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import read_json
from vit_atlas.paths import CAPTIONER


def captions_are_off(folder: Path = CAPTIONER) -> bool:
    """Whether caption-train wrote down that nothing is captioned (`captioner.kind: none`)."""
    return (folder / DESCRIPTION).is_file() and read_json(folder / DESCRIPTION)["kind"] == "none"


def name_captioner(folder: Path = CAPTIONER) -> str:
    """What people call the captioner that ``folder`` holds or names, with the data that it was trained on.

    Raises:
        AtlasError: there is none, or it does not say what it was trained on.
    """
    if not (folder / DESCRIPTION).is_file():
        raise AtlasError(f"{folder} holds no captioner: run `dvc repro caption-train` first")
    description = read_json(folder / DESCRIPTION)
    if description["kind"] == "catr":
        return f"CATR v3, {description['checkpoint'] or 'trained on COCO'}"
    if description["kind"] == "hub":
        return f"{description['name']}, revision {description['revision'] or 'main'}"
    if not description.get("data"):
        raise AtlasError(f"{folder} does not say which data its captioner was trained on: train it again")
    return f"a captioner trained on data/captioning ({description['data']})"


def open_captioner(folder: Path = CAPTIONER) -> Captioner:
    """The captioner that ``folder`` holds or names.

    Raises:
        AtlasError: there is none, it does not say what it was trained on, or it cannot be opened.
    """
    name_captioner(folder)
    description = read_json(folder / DESCRIPTION)
    if description["kind"] == "catr":
        from vit_atlas.captioning.published.checkpoint import open_catr

        return open_catr(description["checkpoint"], description["sha256"])
    if description["kind"] == "hub":
        from vit_atlas.captioning.published.hub import open_hub

        return open_hub(description["name"], description["revision"])
    return load_captioner(folder)
