"""The model as it leaves the pipeline: its folder with a card that holds the results on test photos."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from vit_atlas.code_hash import closure, module_path
from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import atomic_folder, read_json
from vit_atlas.model_card import CARD, FACTS, RESULTS, card_text
from vit_atlas.paths import MODEL

PHOTO_READER = "vit_atlas_photos"
"""A package that goes with the model and opens photos as training did, where vit-atlas is not installed."""


ONNX = "model.onnx"


def export_model(
    target: str | Path, numbers: Mapping[str, float], data_hash: str | None, onnx: Callable[[Path], None] | None = None
) -> Path:
    """Copy build/model to ``target``, a folder that is not there yet or is empty, and complete its card.

    Args:
        target: where the model goes.
        numbers: the result's numbers as ``file/key``, such as ``evaluate/accuracy``.
        data_hash: DVC's hash of the data.
        onnx: writes the model as :data:`ONNX` to the path that it is given; None leaves that out.

    Returns:
        ``target``, ready for ``huggingface_hub.upload_folder``.

    Raises:
        AtlasError: there is no model, or ``target`` holds something.
    """
    folder = Path(target)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise AtlasError(f"{folder} is not empty: name a folder that is not there yet, or empty it")
    with atomic_folder(folder) as temporary:
        fill(temporary, numbers, data_hash)
        if onnx is not None:
            onnx(temporary / ONNX)
    return folder


def fill(folder: Path, numbers: Mapping[str, float], data_hash: str | None) -> None:
    """Copy build/model into ``folder``, which is there, with a complete card and :data:`PHOTO_READER`.

    Raises:
        AtlasError: there is no model.
    """
    if not (MODEL / "config.json").is_file():
        raise AtlasError(f"{MODEL} holds no model: run `dvc repro` first")
    shutil.copytree(MODEL, folder, dirs_exist_ok=True)
    _write_photo_reader(folder / PHOTO_READER)
    if (MODEL / FACTS).is_file():
        (folder / FACTS).unlink()
        (folder / CARD).write_text(complete_card(numbers, data_hash), encoding="utf-8", newline="\n")


def _write_photo_reader(folder: Path) -> None:
    """Copy the modules that open photos, importing each other instead of vit_atlas; they need Pillow and NumPy."""
    folder.mkdir()
    for name in ("vit_atlas.errors", *closure("vit_atlas.data.photos")):
        text = cast(Path, module_path(name)).read_text(encoding="utf-8")
        text = re.sub(r"^( *)from vit_atlas\.(?:\w+\.)*(\w+) import", r"\1from .\2 import", text, flags=re.MULTILINE)
        (folder / f"{name.rpartition('.')[2]}.py").write_text(text, encoding="utf-8", newline="\n")
    (folder / "__init__.py").write_text(
        '"""Photos as upright 8-bit sRGB, as vit-atlas opens them."""\n\n'
        "from .errors import AtlasError as AtlasError\nfrom .photos import open_photo as open_photo\n",
        encoding="utf-8",
        newline="\n",
    )


def complete_card(numbers: Mapping[str, float], data_hash: str | None) -> str:
    """Render build/model's card with the test results, as ``model-index`` and in words, where there are any.

    Arguments are those of :func:`export_model`.
    """
    numbers = {name.removeprefix("evaluate/"): value for name, value in numbers.items() if name.startswith("evaluate/")}
    results = {key: estimate for key in RESULTS if (estimate := Estimate.read(numbers, key)) is not None}
    by_seed = (re.fullmatch(r"by_seed/(\d+)/accuracy", name) for name in numbers)
    trainings = {int(match[1]): numbers[match[0]] for match in by_seed if match}
    photos = int(numbers.get("photos", 0))
    return card_text(read_json(MODEL / FACTS), results, photos, data_hash, exported=True, trainings=trainings)
