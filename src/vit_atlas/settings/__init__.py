"""params.yaml as frozen, typed models: a missing, unknown or wrong key is an error that names it.

Every section of params.yaml is one class here, and every key one field with a line of documentation, which stands in
params.yaml above the key. There are no defaults: params.yaml is the one place that says what a value is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from ruamel.yaml.error import YAMLError

from vit_atlas.errors import AtlasError
from vit_atlas.io.plain import load_yaml
from vit_atlas.paths import PARAMS
from vit_atlas.settings.captioning import Captioner as Captioner
from vit_atlas.settings.captioning import CaptionerSettings as CaptionerSettings
from vit_atlas.settings.captioning import CaptionsSettings as CaptionsSettings
from vit_atlas.settings.captioning import CatrSettings as CatrSettings
from vit_atlas.settings.captioning import HubSettings as HubSettings
from vit_atlas.settings.captioning import NoCaptionerSettings as NoCaptionerSettings
from vit_atlas.settings.problems import sentences
from vit_atlas.settings.values import (
    Count,
    Fraction,
    Integer,
    Layer,
    Natural,
    NotNegative,
    Number,
    Positive,
    Resamples,
    Seed,
    Seeds,
    Shown,
    method,
    other_seeds,
    pattern_with_group,
    ratios,
    shares,
)
from vit_atlas.settings.values import Section as Section

INSTALLED = Path(__file__).resolve().parents[3] / PARAMS
"""Settings of the project that the package belongs to (it is installed as editable)."""


class DataSettings(Section):
    """What prepare does with the photos in data/classification."""

    val_fraction: Fraction
    """Share of the training photos kept for selection, where the folder has no split of its own for that."""
    test_fraction: Fraction
    """Share of all photos kept for the test, where the folder has no split at all."""
    seed: Seed
    """Seed of the stratified split."""
    max_pixels: Annotated[Integer, Field(gt=0, le=500_000_000)]
    """Photos with more pixels than this are rejected (decompression bombs)."""
    near_duplicate_distance: Annotated[Integer, Field(ge=0, le=8)] | None
    """Bits of 64 in which the perceptual hashes of photos that are kept in one split may differ; null is off."""
    group_pattern: Annotated[str, AfterValidator(pattern_with_group)] | None
    """Regular expression on a photo's path; its first group names what one split holds whole, such as an animal."""


class ModelSettings(Section):
    """Which pretrained Vision Transformer to start from."""

    name: Annotated[str, Field(min_length=1)]
    """`embedded`, a Hugging Face hub id such as google/vit-base-patch16-384, or a local folder."""
    revision: str | None
    """Branch, tag or commit on the hub; null is the hub's default branch."""
    image_size: Count | tuple[Count, Count] | None
    """Side in pixels, or [height, width]; null is the size that the pretrained model was made for."""


class AugmentSettings(Section):
    """Augmentation of training photos (torchvision's v2 transforms)."""

    policy: Literal["autoaugment", "trivialaugment", "randaugment", "none"]
    """Colour and shape policy; `autoaugment` is the ImageNet policy of Cubuk et al. 2019, as in the report."""
    crop_scale: Annotated[tuple[Number, Number], AfterValidator(shares)]
    """Share of the photo's area that RandomResizedCrop takes, smallest and largest; [1, 1] turns cropping off."""
    crop_ratio: Annotated[tuple[Number, Number], AfterValidator(ratios)]
    """Aspect ratio of that crop, smallest and largest."""
    horizontal_flip: Fraction
    """Probability of mirroring the photo."""
    seed: Seed
    """Seed of the augmentation, apart from finetune.seed: trainings with other seeds share the views of each photo."""


class FinetuneSettings(Section):
    """How finetune trains."""

    epochs: Count
    """Passes over the training photos."""
    batch_size: Count
    """Photos a training step, those of all processes together."""
    learning_rate: Positive
    """Peak learning rate of the last block (AdamW)."""
    head_learning_rate: Positive | None
    """Peak learning rate of the new classification head; null is the same as learning_rate."""
    head_init: Literal["random", "probe"]
    """`probe` starts the new head from a linear probe on the pretrained features: better where photos are few."""
    layer_decay: Annotated[Number, Field(gt=0, le=1)]
    """Each block below the last learns with this factor of the block above it (layer-wise learning-rate decay)."""
    weight_decay: NotNegative
    """AdamW's weight decay; biases and norms are exempt."""
    warmup_ratio: Fraction
    """Share of all steps over which the learning rate rises to its peak, before the cosine brings it to zero."""
    label_smoothing: Fraction
    """Mass of the target distribution spread evenly over all classes."""
    class_weights: Literal["none", "balanced"]
    """`balanced` weighs each training photo by the inverse of its class's size, so that rare classes count as much."""
    sampling: Literal["natural", "balanced"]
    """`balanced` draws as many photos of each class an epoch, those of rare classes several times."""
    trainable_blocks: Literal["all"] | Natural
    """`all` trains the whole network; k trains the last k blocks and the head, on cached activations of the others."""
    lora_rank: Natural
    """Rank of low-rank adapters (LoRA), through which alone the trainable blocks then learn; 0 trains them whole."""
    lora_alpha: Positive
    """Adapters count with lora_alpha / lora_rank; they end up in the model's weights, and in build/model/adapter."""
    cached_views: Count
    """With a frozen trunk: augmented views of each photo that are computed once and then reused by later epochs."""
    trunk_cache_gb: NotNegative
    """Gigabytes that activations in .trunk-cache may take when training has ended, for the next one; 0 keeps none."""
    linear_probe: Annotated[bool, Field(strict=True)]
    """Fit the baseline: a linear classifier on the pretrained model's features of the same photos."""
    seed: Seed
    """Seed of the head's weights, the order of photos and dropout."""
    repeats: Seeds
    """Seeds of further trainings, measured beside the first to tell the chance of training; [] is none."""
    workers: Natural
    """Processes that load and augment photos; 0 loads in the training process. Changes nothing in the result."""
    processes: Literal["auto"] | Count
    """Processes that share the photos of this and of later stages, as torchrun does; `auto` is one for each GPU."""
    checkpoint_steps: Count
    """Steps between checkpoints to resume from."""
    precision: Literal["auto", "float32", "bfloat16"]
    """`auto` is bfloat16 on a GPU or processor (AMX) that multiplies in it, float32 elsewhere."""
    compile: Literal["auto", "on", "off"]
    """torch.compile; `auto` compiles on a GPU."""

    @field_validator("repeats")
    @classmethod
    def _others(cls, repeats: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        return other_seeds(repeats, info.data.get("seed"), "finetune.seed")

    @field_validator("lora_rank")
    @classmethod
    def _adapts(cls, rank: int, info: ValidationInfo) -> int:
        if rank and info.data.get("trainable_blocks") == 0:
            raise ValueError("0, as finetune.trainable_blocks is 0 and adapters need blocks to learn in")
        return rank


class EvaluateSettings(Section):
    """How evaluate measures."""

    batch_size: Count
    """Photos a forward pass."""
    bootstrap_samples: Resamples
    """Resamples behind every 95 % interval."""
    calibration_bins: Annotated[Integer, Field(ge=2)]
    """Bins of the expected calibration error and of the reliability diagram."""
    mistakes: Shown
    """How many of the most confident mistakes to draw."""
    reference_accuracy: Annotated[Number, Field(ge=0, le=1)] | None
    """An accuracy to compare with (the report's 0.948 with the pets preset); null when there is none."""
    seed: Seed
    """Seed of the bootstrap."""


class EmbeddingsSettings(Section):
    """What embed-viz draws."""

    tiles: Count
    """At most this many patches a side in the overview of similarity maps; larger grids are sampled evenly."""
    photos: Count
    """At most this many test photos, evenly spread, tell how alike tokens are and how far heads look."""


class AttentionSettings(Section):
    """What attn-viz draws."""

    photos: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)]
    """File names of photos to draw, or `auto`: some right, some wrong, spread over the classes."""
    count: Shown
    """How many photos `auto` chooses."""
    layer: Layer
    """Layer in which the attention of what the head reads is drawn: 1 is the first, -1 the last."""
    methods: Annotated[tuple[Annotated[str, AfterValidator(method)], ...], Field(min_length=1)]
    """Map methods to draw and score; see vit_atlas.attention.methods."""
    scored_photos: Natural
    """At most this many test photos with a mask are scored, a random sample; half as many others choose thresholds."""
    faithfulness_photos: Natural
    """How many of those also go through deletion and insertion: by far the slowest score."""
    faithfulness_steps: Count
    """Points of a deletion or insertion curve, besides its ends."""
    faithfulness_fillings: Annotated[tuple[Literal["blur", "mean"], ...], Field(min_length=1)]
    """What stands in the place of patches that are taken away: `blur`, `mean` colour, or both, which are averaged."""
    sanity_photos: Natural
    """How many of those get their maps again from a model with random weights, and moved and with noise."""
    bootstrap_samples: Resamples
    """Resamples behind every 95 % interval."""
    seed: Seed
    """Seed of the random sample of photos, the random maps and the bootstrap."""


class InterventionSettings(Section):
    """What interventions asks the model again without."""

    photos: Count
    """At most this many test photos are asked, a random sample, those with masks first."""
    highlight: Annotated[Number, Field(gt=0, lt=1)]
    """Share of all patches, those with the highest attention, that is taken away as the highlight."""
    drawn: Shown
    """At most this many photos that are answered from the background alone are drawn."""
    bootstrap_samples: Resamples
    """Resamples behind every 95 % interval."""
    seed: Seed
    """Seed of the sample, of the areas taken away for comparison, and of the bootstrap."""


class GallerySettings(Section):
    """Which photos the page can show when a class, a confusion or a point is clicked."""

    photos: Count
    """At most this many photos go through the model once more and are points of the map of all photos."""
    thumbnails: Count
    """At most this many photos of one class and guess have a picture."""
    seed: Seed
    """Seed of the random choice of training photos, and of t-SNE."""


class Settings(Section):
    """All of params.yaml."""

    data: DataSettings
    model: ModelSettings
    augment: AugmentSettings
    finetune: FinetuneSettings
    evaluate: EvaluateSettings
    embeddings: EmbeddingsSettings
    attention: AttentionSettings
    interventions: InterventionSettings
    gallery: GallerySettings
    captioner: Annotated[Captioner, Field(discriminator="kind")]
    captions: CaptionsSettings


def load_settings(path: str | Path = PARAMS) -> Settings:
    """Read and check the whole settings file.

    Raises:
        AtlasError: the file is missing, is not YAML, or has a missing or unknown key or a value of the wrong kind; the
            message names the file and every such key, and suggests the nearest known ones.
    """
    return check_settings(read_params(path), path)


def read_params(path: str | Path = PARAMS) -> dict[str, Any]:
    """Read the settings file as it stands, by the rules of YAML 1.2 as DVC does (`off` is a word, 1e-4 a number).

    Raises:
        AtlasError: the file is missing, is not YAML, or holds no sections.
    """
    try:
        content = load_yaml(Path(path))
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run from the project's folder, the one with dvc.yaml") from None
    except OSError as error:
        raise AtlasError(f"{path} cannot be read: {error.strerror}") from None
    # What is none of YAML's own errors comes from values such as a month 13.
    except (YAMLError, ValueError, KeyError, RecursionError) as error:
        place = " ".join(str(error).split())
        raise AtlasError(f"{path} is not valid YAML: {place}") from None
    if not isinstance(content, dict | None):
        raise AtlasError(f"{path} must hold sections such as `model:`, not a {type(content).__name__}")
    return content or {}


def check_settings(content: Mapping[str, Any], path: str | Path = PARAMS) -> Settings:
    """Check the content of a settings file.

    Raises:
        AtlasError: as :func:`load_settings`; ``path`` is the file that the message names.
    """
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise AtlasError(f"{path}: " + sentences(error.errors(), Settings)) from None
    _check_captioners(settings, path)
    return settings


def _check_captioners(settings: Settings, path: str | Path) -> None:
    """Repeats of a captioner need one that is trained here, and other seeds than its own."""
    repeats, captioner = settings.captions.repeats, settings.captioner
    told = f"{path}: `captions.repeats` is {list(repeats)}"
    if repeats and not isinstance(captioner, CaptionerSettings):
        raise AtlasError(f"{told}, and no captioner is trained (`captioner.kind` is {captioner.kind}): set it to []")
    if isinstance(captioner, CaptionerSettings):
        try:
            other_seeds(repeats, captioner.seed, "captioner.seed")
        except ValueError as error:
            raise AtlasError(f"{told}, expected {error}") from None


def settings_outside_a_project() -> Settings:
    """Read the settings for a command that also works elsewhere: params.yaml here, or that of the installed project.

    Raises:
        AtlasError: as :func:`load_settings`.
    """
    return load_settings(PARAMS if PARAMS.is_file() else INSTALLED)
