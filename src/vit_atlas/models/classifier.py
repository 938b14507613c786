"""Pretrained and fine-tuned classifiers: a model and the processor that makes its input.

A classifier's folder is an ordinary Hugging Face one: ``transformers.pipeline("image-classification", folder)`` gives
the same predictions as :meth:`Classifier.pixel_values` and the model do.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessor

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder
from vit_atlas.models.geometry import Size, TokenLayout, as_size, grid_of, native_size, patch_of
from vit_atlas.models.hub import ASKED_BY, explained, model_source, quiet, require_processor
from vit_atlas.models.readout import Readout, find_readout, token_layout_of
from vit_atlas.models.resizing import INTERPOLATES_ITSELF, fit_to_size
from vit_atlas.models.trunk import PLAIN, blocks, head_names, head_of, token_states
from vit_atlas.paths import MODEL
from vit_atlas.settings import ModelSettings


@dataclass
class Classifier:
    """A Vision Transformer with a classification head, in eval mode, and the processor of its input."""

    model: Any
    """A Hugging Face model for image classification."""
    processor: Any
    """ViTImageProcessor that stretches every photo to the model's (height, width): maps then cover the whole photo."""
    _found: dict[tuple[str, Size], Any] = field(default_factory=dict, repr=False, compare=False)

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
        return self._known("layout", lambda: token_layout_of(self.model, self.image_size))

    @property
    def readout(self) -> Readout:
        """How the head reads the tokens of the last block."""
        return self._known("readout", lambda: find_readout(self.model, self.layout))

    @property
    def layer_count(self) -> int:
        """Blocks, and so attention layers, that the model has."""
        return len(blocks(self.model)[1])

    @property
    def state_shape(self) -> tuple[int, int]:
        """Tokens and width of one photo's token states."""
        return self.layout.tokens, self._known("width", lambda: token_states(self.model, self.image_size).shape[-1])

    def _known(self, what: str, find: Callable[[], Any]) -> Any:
        """What was found once of the model at this input size."""
        key = (what, self.image_size)
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]

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


def in_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16: as ``precision`` says, and with `auto` where the device multiplies in it.

    Chosen on one processor of each kind: with AMX products are about four times as fast, with AVX512_BF16 alone slower.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    # The capability is what torch was told to use (ATEN_CPU_CAPABILITY); AMX is what the processor has.
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_amx_tile_supported()


def autocast(where: torch.device, bfloat16: bool) -> torch.autocast:
    """What a forward pass runs in: mixed precision with ``bfloat16``, else the model's own."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=bfloat16)


def load_pretrained(settings: ModelSettings, classes: Sequence[str], seed: int) -> Classifier:
    """Load a pretrained vision transformer and give it a new head for ``classes``.

    Args:
        settings: which model, and the size of its input.
        classes: class names; a name's index is its label.
        seed: of the head's weights.

    Raises:
        AtlasError: there is no such model, the hub is out of reach, the model is no plain vision transformer, its
            weights are not whole, its processor makes no input of a photo, or its patches do not divide the image size.
    """
    source = model_source(settings)
    with explained(settings):
        config = AutoConfig.from_pretrained(source, revision=settings.revision, trust_remote_code=False)
    config.id2label = dict(enumerate(classes))
    config.label2id = {name: label for label, name in enumerate(classes)}
    if hasattr(config, "label_names"):
        config.label_names = list(classes)  # timm's own list of names, which wins when the model is read again
    config.problem_type = "single_label_classification"
    config.architectures = []  # A distilled DeiT's two-headed class cannot be trained; this picks the one that can.
    outline = _outline(settings, config)
    with explained(settings):
        pretrained_processor = _pretrained_processor(settings, source)
        size = _image_size(settings, outline, pretrained_processor)
        grid_of(size, patch_of(outline))
        model = _load_model(settings, source, config)
    _initialise_head(model, seed)
    model = fit_to_size(model, size)
    # What is saved must not depend on where this machine keeps its cache.
    model.config._name_or_path = settings.name
    classifier = Classifier(model.eval(), _tried_processor(pretrained_processor, size, settings.name))
    _require_readout(classifier, settings.name, ASKED_BY)
    return classifier


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
        AtlasError: it is unavailable, is no image classifier whose attention can be recorded, or has no head.
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
    with named(name, asked_by):
        patch = patch_of(model)
    size = native_size(model)
    if model.config.model_type in INTERPOLATES_ITSELF:
        size = _usual_size(processor) or size
    size = (size[0] // patch[0] * patch[0], size[1] // patch[1] * patch[1])
    if hasattr(processor, "data_config"):
        processor = _stretching_processor(processor, size)
    stretch(processor, size)
    classifier = Classifier(model.eval(), processor).to_device()
    _require_readout(classifier, name, asked_by)
    return classifier


def stretch(processor: Any, size: Size) -> None:
    """Let a processor stretch every photo to ``size`` (height, width), so that maps cover the whole photo."""
    processor.size = {"height": size[0], "width": size[1]}
    processor.do_resize, processor.do_center_crop = True, False


def _outline(settings: ModelSettings, config: Any) -> Any:
    """The model without weights, by its configuration alone: what it is can be told before they are fetched.

    Raises:
        AtlasError: it is no image classifier whose blocks, patches and head can be found.
    """
    try:
        with torch.device("meta"), quiet():
            model = AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    except (ValueError, AttributeError, ImportError, RuntimeError, TypeError):
        kind = getattr(config, "architecture", None) or config.model_type
        raise AtlasError(
            f"{ASKED_BY} {settings.name} is a {kind} model, which transformers and timm as installed cannot make an "
            f"image classifier of: {PLAIN}"
        ) from None
    with named(settings.name, ASKED_BY):
        for find in (blocks, patch_of, head_of):
            find(model)
    return model


def _require_readout(classifier: Classifier, name: str, asked_by: str) -> None:
    """Check that maps of the model can be drawn, before anybody trains it.

    Raises:
        AtlasError: its tokens do not lie on the photo, its attention cannot be recorded, or its head reads none of it.
    """
    with named(name, asked_by):
        classifier.readout  # noqa: B018


@contextmanager
def named(name: str, asked_by: str) -> Iterator[None]:
    """Begin what is said of a model with its name and with what names it."""
    try:
        yield
    except AtlasError as error:
        raise AtlasError(f"{asked_by} {name}: {error}") from None


def _pretrained_processor(settings: ModelSettings, source: str) -> Any:
    require_processor(settings.name)
    with quiet():
        return AutoImageProcessor.from_pretrained(source, revision=settings.revision, trust_remote_code=False)


def _image_size(settings: ModelSettings, model: Any, processor: Any) -> Size:
    if settings.image_size is not None:
        return as_size(settings.image_size)
    native = native_size(model)
    if model.config.model_type not in INTERPOLATES_ITSELF:
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


def _load_model(settings: ModelSettings, source: str, config: Any) -> Any:
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
    height, width = native_size(model)
    if config.model_type in INTERPOLATES_ITSELF and height != width:
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
            nn.init.trunc_normal_(
                parameters[name], std=getattr(model.config, "initializer_range", 0.02), generator=generator
            )
        else:
            nn.init.zeros_(parameters[name])


def _tried_processor(pretrained: Any, size: Size, name: str) -> ViTImageProcessor:
    why: Any = "its pixels are no numbers"
    try:
        processor = _stretching_processor(pretrained, size)
        pixels = processor(images=[Image.new("RGB", (9, 7))], return_tensors="pt")["pixel_values"]
        if pixels.shape == (1, 3, *size) and pixels.isfinite().all():
            return processor
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        why = error
    raise AtlasError(
        f"{ASKED_BY} {name}: its preprocessor_config.json makes no input of a photo ({why}): "
        "mend image_mean, image_std, rescale_factor or resample there"
    )


def _by_channel(value: Any) -> list[float]:
    """A mean or deviation of each channel; one number stands for all three."""
    return [value] * 3 if isinstance(value, int | float) else list(value)


def _stretching_processor(pretrained: Any, size: Size) -> ViTImageProcessor:
    timm_config = getattr(pretrained, "data_config", None)
    if timm_config is not None:
        resample = Image.Resampling[timm_config["interpolation"].upper()]
        mean, std = timm_config["mean"], timm_config["std"]
    else:
        normalises = getattr(pretrained, "do_normalize", True)
        given = getattr(pretrained, "resample", None)
        resample = Image.Resampling.BICUBIC if given is None else given
        # Everything else here takes pixels from 0 to 1, so a model that is made for another range has it in these two.
        scale = (
            255 * getattr(pretrained, "rescale_factor", 1 / 255) if getattr(pretrained, "do_rescale", True) else 255.0
        )
        mean = [value / scale for value in _by_channel(pretrained.image_mean if normalises else 0.0)]
        std = [value / scale for value in _by_channel(pretrained.image_std if normalises else 1.0)]
    return ViTImageProcessor(
        size={"height": size[0], "width": size[1]},
        resample=int(resample),
        image_mean=list(mean),
        image_std=list(std),
    )
