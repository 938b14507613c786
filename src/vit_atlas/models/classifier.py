"""Pretrained and fine-tuned classifiers: a model and the processor that makes its input.

A classifier's folder is an ordinary Hugging Face one: ``transformers.pipeline("image-classification", folder)`` gives
the same predictions as :meth:`Classifier.pixel_values` and the model do.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessor

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder
from vit_atlas.models.geometry import Size, TokenLayout, as_size, position_embedding, token_layout
from vit_atlas.models.hub import ASKED_BY, explained, model_source, quiet, require_processor
from vit_atlas.models.trunk import blocks
from vit_atlas.paths import MODEL
from vit_atlas.settings import ModelSettings

INTERPOLATES_ITSELF = ("dinov2", "dinov2_with_registers")
"""Model types that fit their position embeddings to any input in forward; the others' are fitted once, when loading."""

SUPPORTED = "ViT, DeiT or DINOv2 (with or without registers)"


@dataclass
class Classifier:
    """A Vision Transformer with a classification head, in eval mode, and the processor of its input."""

    model: Any
    """A Hugging Face model for image classification."""
    processor: Any
    """ViTImageProcessor that stretches every photo to the model's (height, width): maps then cover the whole photo."""

    @property
    def id2label(self) -> dict[int, str]:
        """Class name of each label."""
        return dict(self.model.config.id2label)

    @property
    def image_size(self) -> Size:
        """Height and width of the model's input in pixels."""
        return int(self.processor.size["height"]), int(self.processor.size["width"])

    @property
    def layout(self) -> TokenLayout:
        """How the tokens lie on the input."""
        return token_layout(self.model.config, self.image_size)

    @property
    def layer_count(self) -> int:
        """Blocks, and so attention layers, that the model has."""
        return len(blocks(self.model)[1])

    def to_device(self) -> Self:
        """Move the model to the GPU where there is one; returns itself."""
        self.model.to(device())
        return self

    def require_patch(self, photo: Image.Image, path: str, remedy: str) -> None:
        """Check that a photo is at least one patch wide and high: a map of less has nothing to point at.

        Raises:
            AtlasError: it is not; the sentence ends with ``remedy``.
        """
        height, width = self.layout.patch
        if photo.width < width or photo.height < height:
            raise AtlasError(
                f"{path} is {photo.width}x{photo.height} pixels, less than one patch of {width}x{height}, so a map of "
                f"it means nothing: {remedy}"
            )

    def pixel_values(self, photos: Sequence[Image.Image]) -> Tensor:
        """Input of the model for RGB photos, shape (photos, 3, height, width), float32, normalised."""
        return self.processor(images=list(photos), return_tensors="pt")["pixel_values"]

    def save(self, folder: str | Path) -> None:
        """Write the model and its processor as a Hugging Face folder (atomically)."""
        with atomic_folder(folder) as temporary, quiet():
            self.model.save_pretrained(temporary)
            self.processor.save_pretrained(temporary)


def device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(where: torch.device) -> str:
    """The name of the GPU, or of the processor with the threads that torch uses."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    described = Path("/proc/cpuinfo").read_text(errors="replace") if Path("/proc/cpuinfo").is_file() else ""
    names = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("model name")]
    threads = torch.get_num_threads()
    name = names[0] if names else platform.machine()
    return f"{name}, {threads} thread{'' if threads == 1 else 's'}"


def load_pretrained(settings: ModelSettings, classes: Sequence[str], seed: int) -> Classifier:
    """Load a pretrained Vision Transformer and give it a new head for ``classes``.

    Args:
        settings: which model, and the size of its input.
        classes: class names; a name's index is its label.
        seed: of the head's weights.

    Raises:
        AtlasError: there is no such model, the hub is out of reach, the model has no class token, its weights are not
            whole, or its patches do not divide the image size.
    """
    source = model_source(settings)
    with explained(settings):
        config = AutoConfig.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
    _require_trainable(settings, config)
    with explained(settings):
        pretrained_processor = _pretrained_processor(settings, source)
        size = _image_size(settings, config, pretrained_processor)
        token_layout(config, size)
        model = _load_model(settings, source, config, classes)
    _initialise_head(model, seed)
    if config.model_type not in INTERPOLATES_ITSELF:
        _fit_position_embedding(model, size)
    # What is saved must not depend on where this machine keeps its cache.
    model.config._name_or_path = settings.name
    return Classifier(model.eval(), _stretching_processor(pretrained_processor, size))


def load_finetuned(folder: str | Path = MODEL) -> Classifier:
    """Load what :meth:`Classifier.save` wrote.

    Raises:
        AtlasError: the folder is missing or does not hold a whole classifier.
    """
    if not (Path(folder) / "config.json").is_file():
        raise AtlasError(f"{folder} holds no model: run `dvc repro finetune` first")
    settings = ModelSettings(name=str(folder), revision=None, image_size=None)
    with explained(settings), quiet():
        model, info = AutoModelForImageClassification.from_pretrained(
            str(folder), dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
        processor = AutoImageProcessor.from_pretrained(str(folder), trust_remote_code=False)
    if info["missing_keys"]:
        raise AtlasError(f"{folder} is not whole, it lacks {min(info['missing_keys'])}: run `dvc repro finetune` again")
    return Classifier(model.eval(), processor)


def open_classifier(name: str | None = None, asked_by: str = ASKED_BY) -> Classifier:
    """Open any saved image classifier with the head that it was saved with, on the GPU where there is one.

    Photos are stretched to the model's input, whatever its own processor does with the borders: maps then cover the
    whole photo, as they do everywhere else here.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a hub id; None is build/model, the pipeline's own.
        asked_by: how messages call what names the model.

    Raises:
        AtlasError: it is unavailable, is no image classifier with a class token, or has no head.
    """
    if name is None:
        return load_finetuned().to_device()
    settings = ModelSettings(name=name, revision=None, image_size=None)
    source = model_source(settings, asked_by)
    require_processor(name, asked_by)
    with explained(settings, asked_by), quiet(downloads=not Path(source).is_dir()):
        model, info = AutoModelForImageClassification.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
        processor = AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    if info["missing_keys"]:
        raise AtlasError(
            f"the weights of {asked_by} {name} lack {min(info['missing_keys'])}: give an image classifier that was "
            "saved with its head"
        )
    _require_class_token(model, name, asked_by)
    size = as_size(model.config.image_size)
    if model.config.model_type in INTERPOLATES_ITSELF:
        size = _usual_size(processor) or size
    patch = as_size(model.config.patch_size)
    stretch(processor, (size[0] // patch[0] * patch[0], size[1] // patch[1] * patch[1]))
    return Classifier(model.eval(), processor).to_device()


def stretch(processor: Any, size: Size) -> None:
    """Let a processor stretch every photo to ``size`` (height, width), so that maps cover the whole photo."""
    processor.size = {"height": size[0], "width": size[1]}
    processor.do_resize, processor.do_center_crop = True, False


def head_names(model: Any) -> list[str]:
    """Names of the parameters that belong to the classification head."""
    prefix = model.base_model_prefix + "."
    return [name for name, _ in model.named_parameters() if not name.startswith(prefix)]


def _require_trainable(settings: ModelSettings, config: Any) -> None:
    """Check from the configuration alone that the model has a class token."""
    config.architectures = []  # A distilled DeiT's two-headed class cannot be trained; this picks the one that can.
    try:
        with torch.device("meta"):
            model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    except (ValueError, AttributeError, ImportError):
        raise _no_class_token(config.model_type, settings.name, ASKED_BY) from None
    _require_class_token(model, settings.name, ASKED_BY)


def _require_class_token(model: Any, name: str, asked_by: str) -> None:
    embeddings = getattr(model.base_model, "embeddings", None)
    wanted = ("cls_token", "position_embeddings", "patch_embeddings")
    try:
        if any(getattr(embeddings, part, None) is None for part in wanted):
            raise _no_class_token(model.config.model_type, name, asked_by)
        blocks(model)
        token_layout(model.config)
    except (AtlasError, AttributeError, TypeError, ValueError):
        raise _no_class_token(model.config.model_type, name, asked_by) from None


def _no_class_token(kind: str, name: str, asked_by: str) -> AtlasError:
    return AtlasError(
        f"{asked_by} {name} is a {kind} model, which has no class token with learned position embeddings: choose a "
        f"{SUPPORTED}"
    )


def _pretrained_processor(settings: ModelSettings, source: str) -> Any:
    require_processor(settings.name)
    with quiet():
        return AutoImageProcessor.from_pretrained(source, revision=settings.revision, trust_remote_code=False)


def _image_size(settings: ModelSettings, config: Any, processor: Any) -> Size:
    if settings.image_size is not None:
        return as_size(settings.image_size)
    native = as_size(config.image_size)
    if config.model_type not in INTERPOLATES_ITSELF:
        return native
    # DINOv2 keeps the position embeddings of its last, high-resolution phase; its processor tells the usual input.
    return _usual_size(processor) or native


def _usual_size(processor: Any) -> Size | None:
    """Height and width that a processor hands to its model, after resizing and cropping; None where it says neither."""
    crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", True) else None
    for size in (crop, getattr(processor, "size", None)):
        if size and size.get("height") and size.get("width"):
            return int(size["height"]), int(size["width"])
    return None


def _load_model(settings: ModelSettings, source: str, config: Any, classes: Sequence[str]) -> Any:
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: label for label, name in enumerate(classes)}
    config.problem_type = "single_label_classification"
    with quiet(downloads=not Path(source).is_dir()):
        model, info = AutoModelForImageClassification.from_pretrained(
            source,
            config=config,
            revision=settings.revision,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    new = set(info["missing_keys"]) | {key[0] for key in info["mismatched_keys"]}
    broken = sorted(name for name in new - set(head_names(model)) if not name.endswith("mask_token"))
    if broken:
        raise AtlasError(
            f"the weights of model.name {settings.name} do not fit its config.json: {len(broken)} are missing or of "
            f"another shape, the first is {broken[0]}"
        )
    rows, cols = token_layout(config).grid
    if config.model_type in INTERPOLATES_ITSELF and rows != cols:
        raise AtlasError(
            f"the config.json of model.name {settings.name} has a non-square image_size, which transformers' "
            f"{config.model_type} cannot run: choose a model trained on square photos, and set model.image_size"
        )
    return model


def _initialise_head(model: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    for name in head_names(model):
        if parameters[name].ndim > 1:
            nn.init.trunc_normal_(parameters[name], std=model.config.initializer_range, generator=generator)
        else:
            nn.init.zeros_(parameters[name])


def _fit_position_embedding(model: Any, size: Size) -> None:
    """Resample the position embedding to the grid of ``size`` and make that the model's own size.

    Bicubic as in the paper's fine-tuning at higher resolution; equal to the model's ``interpolate_pos_encoding`` at
    run time, so that plain ``from_pretrained`` and ``pipeline`` need no flag.

    References:
        Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, section 3.2, https://arxiv.org/abs/2010.11929
    """
    config, embeddings = model.config, model.base_model.embeddings
    if as_size(config.image_size) == size:
        return
    old, grid = position_embedding(model), token_layout(config, size).grid
    patches = functional.interpolate(old.permute(2, 0, 1)[None], size=grid, mode="bicubic", align_corners=False)[0]
    special = embeddings.position_embeddings.detach()[:, : -old.shape[0] * old.shape[1]]
    fitted = torch.cat([special, patches.flatten(1).T[None]], dim=1)
    embeddings.position_embeddings = nn.Parameter(fitted)
    embeddings.image_size = embeddings.patch_embeddings.image_size = size
    embeddings.patch_embeddings.num_patches = grid[0] * grid[1]
    config.image_size = size[0] if size[0] == size[1] else list(size)


def _stretching_processor(pretrained: Any, size: Size) -> ViTImageProcessor:
    normalises = getattr(pretrained, "do_normalize", True)
    return ViTImageProcessor(
        size={"height": size[0], "width": size[1]},
        resample=int(getattr(pretrained, "resample", None) or Image.Resampling.BICUBIC),
        image_mean=list(pretrained.image_mean) if normalises else [0.0, 0.0, 0.0],
        image_std=list(pretrained.image_std) if normalises else [1.0, 1.0, 1.0],
    )
