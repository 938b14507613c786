"""params.yaml as frozen, typed models: an unknown or wrong key is an error that names it.

Every section of params.yaml is one class here, and every key one field with a line of documentation. Stages ask for the
sections that they declare in dvc.yaml (:func:`read_settings`), and get those only.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vit_atlas.errors import AtlasError
from vit_atlas.paths import PARAMS

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
MapMethod = Literal[
    "head_mean",
    "best_head",
    "head_max",
    "rollout",
    "rollout_discard",
    "relevance",
    "legrad",
    "gradcam",
    "gaussian",
    "random",
    "uniform",
]


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataSettings(Section):
    """What prepare does with the photos in data/classification."""

    val_fraction: Fraction = 0.15
    """Share of the training photos kept for selection, where the folder has no split of its own for that."""
    test_fraction: Fraction = 0.2
    """Share of all photos kept for the test, where the folder has no split at all."""
    seed: Seed = 0
    """Seed of the stratified split."""
    max_pixels: int = Field(100_000_000, gt=0, le=500_000_000)
    """Photos with more pixels than this are rejected (decompression bombs)."""


class ModelSettings(Section):
    """Which pretrained Vision Transformer to start from."""

    name: str = Field("embedded", min_length=1)
    """`embedded`, a Hugging Face hub id such as google/vit-base-patch16-384, or a local folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null is the hub's default branch."""
    image_size: int | tuple[int, int] | None = None
    """Side in pixels, or [height, width]; null is the size that the pretrained model was made for."""


class AugmentSettings(Section):
    """Augmentation of training photos (torchvision's v2 transforms)."""

    policy: Literal["autoaugment", "trivialaugment", "randaugment", "none"] = "autoaugment"
    """Colour and shape policy; `autoaugment` is the ImageNet policy of Cubuk et al. 2019, as in the report."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Share of the photo's area that RandomResizedCrop takes, smallest and largest; [1, 1] turns cropping off."""
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    """Aspect ratio of that crop, smallest and largest."""
    horizontal_flip: Fraction = 0.5
    """Probability of mirroring the photo."""

    @model_validator(mode="after")
    def _ordered(self) -> "AugmentSettings":
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError("crop_scale to be [smallest, largest] with 0 < smallest <= largest <= 1")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError("crop_ratio to be [smallest, largest] with 0 < smallest <= largest")
        return self


class FinetuneSettings(Section):
    """How finetune trains."""

    epochs: int = Field(3, ge=1)
    """Passes over the training photos."""
    batch_size: int = Field(32, ge=1)
    """Photos a training step, those of all processes together."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate of the last block (AdamW)."""
    head_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of the new classification head; null is the same as learning_rate."""
    head_init: Literal["random", "probe"] = "random"
    """`probe` starts the new head from a linear probe on the pretrained features: better where photos are few."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Each block below the last learns with this factor of the block above it (layer-wise learning-rate decay)."""
    weight_decay: float = Field(0.05, ge=0)
    """AdamW's weight decay; biases and norms are exempt."""
    warmup_ratio: Fraction = 0.1
    """Share of all steps over which the learning rate rises to its peak, before the cosine brings it to zero."""
    label_smoothing: Fraction = 0.1
    """Mass of the target distribution spread evenly over all classes."""
    trainable_blocks: Literal["all"] | Annotated[int, Field(ge=0)] = 3
    """`all` trains the whole network; k trains the last k blocks and the head, on cached activations of the others."""
    cached_views: int = Field(3, ge=1)
    """With a frozen trunk: augmented views of each photo that are computed once and then reused by later epochs."""
    seed: Seed = 0
    """Seed of the head's weights, the order of photos and their augmentation."""
    workers: int = Field(0, ge=0)
    """Processes that load and augment photos; 0 loads in the training process. Changes nothing in the result."""
    processes: Literal["auto"] | Annotated[int, Field(ge=1)] = 1
    """Processes that train together on this machine, started as torchrun does; `auto` is one for each GPU."""
    checkpoint_steps: int = Field(50, ge=1)
    """Steps between checkpoints to resume from."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 on a GPU that has it and float32 elsewhere."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; `auto` compiles on a GPU."""


class EvaluateSettings(Section):
    """How evaluate measures."""

    batch_size: int = Field(32, ge=1)
    """Photos a forward pass."""
    bootstrap_samples: int = Field(2000, ge=100)
    """Resamples behind every 95 % interval."""
    calibration_bins: int = Field(15, ge=2)
    """Bins of the expected calibration error and of the reliability diagram."""
    linear_probe: bool = True
    """Fit the baseline: a linear classifier on the pretrained model's features, same split."""
    mistakes: int = Field(12, ge=1, le=64)
    """How many of the most confident mistakes to draw."""
    reference_accuracy: float | None = Field(None, ge=0, le=1)
    """An accuracy to compare with (the report's 0.948 with the pets preset); null when there is none."""
    seed: Seed = 0
    """Seed of the bootstrap."""


class EmbeddingsSettings(Section):
    """What embed-viz draws."""

    tiles: int = Field(16, ge=1)
    """At most this many patches a side in the overview of similarity maps; larger grids are sampled evenly."""


class AttentionSettings(Section):
    """What attn-viz draws."""

    photos: Literal["auto"] | tuple[str, ...] = "auto"
    """File names of photos to draw, or `auto`: some right, some wrong, spread over the classes."""
    count: int = Field(6, ge=1, le=64)
    """How many photos `auto` chooses."""
    layer: int = -1
    """Layer whose class-token attention is drawn; negative counts from the last."""
    methods: Annotated[tuple[MapMethod, ...], Field(min_length=1)] = get_args(MapMethod)
    """Map methods to draw and score; see vit_atlas.attention.maps."""
    scored_photos: int = Field(32, ge=0)
    """At most this many test photos with a mask are scored, drawn by lot, and half as many others choose thresholds."""
    faithfulness_photos: int = Field(3, ge=0)
    """How many of those also go through deletion and insertion: by far the slowest score."""
    faithfulness_steps: int = Field(3, ge=1)
    """Points of a deletion or insertion curve, besides its ends."""
    bootstrap_samples: int = Field(2000, ge=100)
    """Resamples behind every 95 % interval."""
    seed: Seed = 0
    """Seed of the photos drawn by lot, the random maps and the bootstrap."""


class CaptionerSettings(Section):
    """Who writes the captions, and how the pipeline's own captioner is trained."""

    kind: Literal["trained", "catr", "hub"] = "trained"
    """`trained`: learned from data/captioning; `catr`: CATR v3 as published; `hub`: the model `name`."""
    name: str | None = None
    """With kind `hub`: hub id or folder of a VisionEncoderDecoderModel or BLIP captioner."""
    revision: str | None = None
    """With kind `hub`: branch, tag or commit; null is the hub's default branch."""
    checkpoint: str | None = None
    """With kind `catr`: a file with CATR v3's weights; null downloads the published one."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """With kind `catr`: the file's expected hash; null expects the one seen at first use."""
    backbone: Literal["model", "efficientnet_lite2"] = "model"
    """What a trained captioner sees through, frozen: the pipeline's ViT (build/model), or an ImageNet CNN."""
    image_size: int | None = Field(168, ge=32)
    """Side in pixels that photos are stretched to for the backbone, rounded down to whole patches; null is its own."""
    layers: Annotated[tuple[int, ...], Field(min_length=1)] = (-5, -1)
    """Layers of the ViT whose patch features are used, side by side; negative counts from the last."""
    width: int = Field(128, ge=16)
    """Channels of the captioning transformer; a multiple of `heads`, and even."""
    heads: int = Field(4, ge=1)
    """Attention heads of every layer."""
    encoder_layers: int = Field(0, ge=0)
    """Layers that look at the photo after the backbone; none keeps each place's own features apart."""
    decoder_layers: int = Field(2, ge=1)
    """Layers that write the caption."""
    dropout: Fraction = 0.1
    """Dropout while training."""
    longest: int = Field(32, ge=4)
    """Most words in a caption, start and end included; longer ones are cut for training."""
    minimum_count: int = Field(3, ge=1)
    """Words seen less often in the training captions are unknown to it."""
    epochs: int = Field(15, ge=1)
    """Passes over the training photos, each with all its captions."""
    batch_size: int = Field(32, ge=1)
    """Photos a training step."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate (AdamW)."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's weight decay."""
    warmup_ratio: Fraction = 0.1
    """Share of all steps over which the learning rate rises to its peak, before the cosine brings it to zero."""
    label_smoothing: Fraction = 0.1
    """Mass of the target distribution spread evenly over all words."""
    seed: Seed = 0
    """Seed of the weights, the order of photos and dropout."""
    checkpoint_steps: int = Field(50, ge=1)
    """Steps between checkpoints to resume from."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 on a GPU that has it and float32 elsewhere."""

    @model_validator(mode="after")
    def _whole(self) -> "CaptionerSettings":
        if self.width % self.heads or self.width % 2:
            raise ValueError("captioner.width must be even and a multiple of captioner.heads")
        if self.kind == "hub" and not self.name:
            raise ValueError("captioner.kind `hub` needs captioner.name, such as nlpconnect/vit-gpt2-image-captioning")
        return self


class CaptionsSettings(Section):
    """How captions are searched for, measured and drawn."""

    beams: int = Field(3, ge=1)
    """Captions followed at the same time; 1 is greedy."""
    max_length: int = Field(30, ge=1)
    """A caption that has not ended by then is cut and marked."""
    length_penalty: float = 1.0
    """Captions compete by their log-probability divided by length to this power."""
    photos: Literal["auto"] | tuple[str, ...] = "auto"
    """File names (under images/) of photos to draw, or `auto`: spread over the test photos, or all without captions."""
    count: int = Field(6, ge=1, le=64)
    """How many photos `auto` chooses."""
    layer: int | None = None
    """Decoder layer whose map is drawn and scored; negative counts from the last, null is the mean over layers."""
    head: int | None = Field(None, ge=0)
    """Attention head whose map is drawn and scored; null is the mean over heads."""


class Settings(Section):
    """All of params.yaml."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    augment: AugmentSettings = AugmentSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    embeddings: EmbeddingsSettings = EmbeddingsSettings()
    attention: AttentionSettings = AttentionSettings()
    captioner: CaptionerSettings = CaptionerSettings()
    captions: CaptionsSettings = CaptionsSettings()


def load_settings(path: str | Path = PARAMS) -> Settings:
    """Read and check the whole settings file.

    Raises:
        AtlasError: the file is missing, is not YAML, or has an unknown key or a value of the wrong kind; the message
            names the file and the key, and suggests the nearest known key.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run from the project's folder, the one with dvc.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = str(error).replace("\n", " ")
        raise AtlasError(f"{path} is not valid YAML: {place}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise AtlasError(f"{path} must hold sections such as `model:`, not a {type(content).__name__}")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise AtlasError(f"{path}: " + _sentences(error.errors())) from None


def read_settings(*sections: str, path: str | Path = PARAMS) -> tuple[Any, ...]:
    """Check the whole settings file and return the named sections, in the order asked for.

    A stage script names here the sections that dvc.yaml lists under its ``params:``; a test compares the two.

    Raises:
        AtlasError: as :func:`load_settings`.
    """
    settings = load_settings(path)
    return tuple(getattr(settings, name) for name in sections)


def _sentences(errors: Sequence[Any]) -> str:
    """Pydantic's errors as sentences, one a key; the branches of a union are one key's alternatives."""
    alternatives: dict[str, list[str]] = {}
    for item in errors:
        if item["type"] == "extra_forbidden":
            alternatives[_unknown_key([str(part) for part in item["loc"]])] = []
            continue
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        alternatives.setdefault(f"`{_key(item['loc'])}` is {item['input']!r}, expected ", []).append(message)
    return "; ".join(start + " or ".join(dict.fromkeys(messages)) for start, messages in alternatives.items())


def _unknown_key(location: list[str]) -> str:
    model: Any = Settings
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    near = get_close_matches(location[-1], model.model_fields, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known keys here are {', '.join(model.model_fields)}"
    return f"unknown key `{'.'.join(location)}`: {hint}"


def _key(location: Sequence[Any]) -> str:
    """The part of an error's location that stands in the file: section and key, without pydantic's union branches."""
    return ".".join(str(part) for part in location[:2])
