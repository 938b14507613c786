"""Any saved image classifier with a class token, made ready to be explained."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import INTERPOLATES_ITSELF, SUPPORTED, Classifier, load_finetuned
from vit_atlas.models.geometry import as_size, token_layout
from vit_atlas.models.hub import explained, model_source, quiet
from vit_atlas.models.trunk import blocks
from vit_atlas.settings import ModelSettings


def open_model(name: str | None) -> Classifier:
    """The pipeline's own model, or the classifier ``name`` with the head that it was saved with.

    Photos are stretched to the model's input, whatever its own processor does with the borders: maps then cover the
    whole photo, as they do everywhere else here.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a hub id; None is build/model.

    Raises:
        AtlasError: it cannot be had, is no image classifier with a class token, or has no head.
    """
    if name is None:
        classifier = load_finetuned()
    else:
        try:
            classifier = _load(ModelSettings(name=name, revision=None, image_size=None))
        except AtlasError as error:
            raise AtlasError(str(error).replace("model.name", "--model").replace(" in params.yaml", "")) from None
    classifier.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return classifier


def layer_count(classifier: Classifier) -> int:
    """How many blocks, and so attention layers, the model has."""
    return len(blocks(classifier.model)[1])


def _load(settings: ModelSettings) -> Classifier:
    source = model_source(settings)
    with explained(settings), quiet(downloads=not Path(source).is_dir()):
        model, info = AutoModelForImageClassification.from_pretrained(
            source,
            revision=settings.revision,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
        )
        processor = AutoImageProcessor.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
    missing = sorted(info["missing_keys"])
    if missing:
        raise AtlasError(
            f"the weights of model.name {settings.name} lack {missing[0]}: give an image classifier that was saved "
            "with its head"
        )
    _require_class_token(settings, model)
    _stretch(processor, model.config)
    return Classifier(model.eval(), processor)


def _require_class_token(settings: ModelSettings, model: Any) -> None:
    problem = AtlasError(
        f"model.name {settings.name} is a {model.config.model_type} model, which has no class token whose attention "
        f"could be drawn: choose a {SUPPORTED}"
    )
    if getattr(getattr(model.base_model, "embeddings", None), "cls_token", None) is None:
        raise problem
    try:
        blocks(model)
        token_layout(model.config)
    except (AtlasError, AttributeError, TypeError, ValueError):
        raise problem from None


def _stretch(processor: Any, config: Any) -> None:
    """Let the processor stretch photos to the size that it hands the model otherwise, after resizing and cropping."""
    crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
    sizes = (crop, getattr(processor, "size", None))
    found = next((size for size in sizes if size and size.get("height") and size.get("width")), None)
    height, width = (found["height"], found["width"]) if found else as_size(config.image_size)
    if config.model_type not in INTERPOLATES_ITSELF:
        height, width = as_size(config.image_size)
    patch = as_size(config.patch_size)
    processor.size = {"height": height // patch[0] * patch[0], "width": width // patch[1] * patch[1]}
    processor.do_resize, processor.do_center_crop = True, False
