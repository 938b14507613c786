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


def open_captioner(folder: Path = CAPTIONER) -> Captioner:
    """The captioner that ``folder`` holds or names.

    Raises:
        AtlasError: there is none, or it cannot be opened.
    """
    if not (folder / DESCRIPTION).is_file():
        raise AtlasError(f"{folder} holds no captioner: run `dvc repro caption-train` first")
    description = read_json(folder / DESCRIPTION)
    if description["kind"] == "catr":
        from vit_atlas.captioning.published.checkpoint import open_catr

        return open_catr(description["checkpoint"], description["sha256"])
    if description["kind"] == "hub":
        from vit_atlas.captioning.published.hub import open_hub

        return open_hub(description["name"], description["revision"])
    return load_captioner(folder)
