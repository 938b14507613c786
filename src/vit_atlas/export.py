"""The model as it leaves the pipeline: its folder with a card that holds the results on test photos."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vit_atlas.code_hash import closure, module_path
from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.io.files import atomic_folder
from vit_atlas.model_card import CARD, DATASET_NAME, DATASET_TYPE, RESULTS, TASK, card_text
from vit_atlas.paths import MODEL

PHOTO_READER = "vit_atlas_photos"
"""A package that goes with the model and opens photos as training did, where vit-atlas is not installed."""

PHOTOS = """
## Photos

```python
import sys

from transformers import pipeline

folder = "path/to/this/folder"
sys.path.append(folder)
from vit_atlas_photos import open_photo

pipeline("image-classification", folder)(open_photo("photo.jpg"))
```

`open_photo` reads a photo as training did: upright, in sRGB, what is transparent over white, 16 bits scaled to 8. A
path given to the pipeline itself means the same for an ordinary JPEG only.
"""


def export_model(target: str | Path, numbers: Mapping[str, float], data_hash: str | None) -> Path:
    """Copy build/model to ``target``, a folder that is not there yet or is empty, and complete its card.

    Args:
        target: where the model goes.
        numbers: the result's numbers as ``file/key``, such as ``evaluate/accuracy``.
        data_hash: DVC's hash of the data.

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
    if (MODEL / CARD).is_file():
        (folder / CARD).write_text(complete_card(numbers, data_hash) + PHOTOS, encoding="utf-8", newline="\n")


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
    """Give the text of build/model's card with the test results, as ``model-index`` and in words.

    Without test results it is the card as it stands. Arguments are those of :func:`export_model`.
    """
    from huggingface_hub import ModelCard

    card = ModelCard.load(MODEL / CARD)
    found = {name.removeprefix("evaluate/"): value for name, value in numbers.items() if name.startswith("evaluate/")}
    if "accuracy" not in found:
        return (MODEL / CARD).read_text(encoding="utf-8")
    card.data.eval_results = [*(card.data.eval_results or []), *_results(found, data_hash)]
    begin, end = RESULTS
    before, _, rest = card.text.partition(begin)
    after = rest.partition(end)[2]
    return card_text(card.data, "\n" + (before + begin + _words(found, data_hash) + end + after).lstrip("\n"))


def _results(found: Mapping[str, float], data_hash: str | None) -> list[Any]:
    from huggingface_hub import EvalResult

    kinds = {"accuracy": ("accuracy", "Accuracy"), "top5_accuracy": ("accuracy", "Top-5 accuracy")}
    kinds |= {"macro_f1": ("f1", "Macro F1"), "ece": ("expected_calibration_error", "Expected calibration error")}
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=DATASET_TYPE,
            dataset_name=DATASET_NAME,
            dataset_split="test",
            dataset_revision=data_hash,
            metric_type=kind,
            metric_value=found[key],
            metric_name=name,
            metric_args=_interval(Estimate.read(found, key)),
        )
        for key, (kind, name) in kinds.items()
        if key in found
    ]


def _interval(estimate: Estimate | None) -> dict[str, list[float]] | None:
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    return {"interval_95": [estimate.low, estimate.high]}


def _words(found: Mapping[str, float], data_hash: str | None) -> str:
    rows = ["", "", "| on test photos | value [95 % interval] |", "|---|---|"]
    shown = {
        "accuracy": "accuracy",
        "top5_accuracy": "top-5 accuracy",
        "macro_f1": "macro F1",
        "ece": "expected calibration error",
        "probe_accuracy": "accuracy of a linear probe on the pretrained features",
        "accuracy_minus_probe": "accuracy less that of the probe",
    }
    for key, name in shown.items():
        estimate = Estimate.read(found, key)
        if estimate is not None:
            rows.append(f"| {name} | {estimate:.3f} |")
    photos = f"Measured on {found['photos']:.0f} test photos, which training never saw. " if "photos" in found else ""
    interval_note = "Intervals are bootstrap intervals over these photos."
    data = f" The data is what DVC records as `{data_hash}`." if data_hash else ""
    return "\n".join([*rows, "", photos + interval_note + data, ""])
