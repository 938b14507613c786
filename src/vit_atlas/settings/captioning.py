"""The sections of params.yaml about captions: who writes them, and how they are searched for and drawn."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from vit_atlas.settings.values import (
    Count,
    Fraction,
    Integer,
    Layer,
    Natural,
    NotNegative,
    Number,
    Positive,
    Section,
    Seed,
    Seeds,
    Shown,
)


class CatrSettings(Section):
    """CATR v3 as published: ResNet-101 and transformer, trained on COCO."""

    kind: Literal["catr"]
    """Who writes captions: `trained` on data/captioning, `catr` as published, `hub`, a model of the hub, or `none`."""
    checkpoint: str | None
    """A file with CATR v3's weights; null downloads the published one."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    """The file's expected hash; null expects the one of its first use."""


class NoCaptionerSettings(Section):
    """No captions: caption-train and caption-attn do nothing."""

    kind: Literal["none"]
    """Who writes captions: `trained` on data/captioning, `catr` as published, `hub`, a model of the hub, or `none`."""


class HubSettings(Section):
    """A published captioner of the Hugging Face hub."""

    kind: Literal["hub"]
    """Who writes captions: `trained` on data/captioning, `catr` as published, `hub`, a model of the hub, or `none`."""
    name: Annotated[str, Field(min_length=1)]
    """Hub id or folder of a VisionEncoderDecoderModel or BLIP captioner."""
    revision: str | None
    """Branch, tag or commit; null is the hub's default branch."""


class CaptionerSettings(Section):
    """The pipeline's own captioner, and how it is trained."""

    kind: Literal["trained"]
    """Who writes captions: `trained` on data/captioning, `catr` as published, `hub`, a model of the hub, or `none`."""
    backbone: Literal["model", "efficientnet_lite2"]
    """What a trained captioner sees through, frozen: the pipeline's ViT (build/model), or an ImageNet CNN."""
    image_size: Annotated[Integer, Field(ge=32)] | None
    """Side in pixels that photos are stretched to for the backbone, rounded down to whole patches; null is its own."""
    layers: Annotated[tuple[Integer, ...], Field(min_length=1)]
    """Layers of the ViT whose patch features are used, side by side; negative counts from the last."""
    width: Annotated[Integer, Field(ge=16)]
    """Channels of the captioning transformer; a multiple of `heads`, and even."""
    heads: Count
    """Attention heads of every layer."""
    encoder_layers: Natural
    """Layers that look at the photo after the backbone; none keeps each place's own features apart."""
    decoder_layers: Count
    """Layers that write the caption."""
    dropout: Fraction
    """Dropout while training."""
    longest: Annotated[Integer, Field(ge=4)]
    """Most words in a caption, start and end included; longer ones are cut for training."""
    minimum_count: Count
    """Words seen less often in the training captions are unknown to it."""
    epochs: Count
    """Passes over the training photos, each with all its captions."""
    batch_size: Count
    """Photos a training step."""
    learning_rate: Positive
    """Peak learning rate (AdamW)."""
    weight_decay: NotNegative
    """AdamW's weight decay."""
    warmup_ratio: Fraction
    """Share of all steps over which the learning rate rises to its peak, before the cosine brings it to zero."""
    label_smoothing: Fraction
    """Mass of the target distribution spread evenly over all words."""
    seed: Seed
    """Seed of the weights, the order of photos and dropout."""
    checkpoint_steps: Count
    """Steps between checkpoints to resume from."""
    precision: Literal["auto", "float32", "bfloat16"]
    """`auto` is bfloat16 on a GPU or processor (AMX) that multiplies in it, float32 elsewhere."""

    @field_validator("heads")
    @classmethod
    def _divides(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width", 2 * heads)
        if width % heads or width % 2:
            raise ValueError(f"a divisor of captioner.width, which is {width} and must be even")
        return heads


Captioner = CaptionerSettings | CatrSettings | HubSettings | NoCaptionerSettings


class CaptionsSettings(Section):
    """How captions are searched for, measured and drawn."""

    beams: Count
    """Captions followed at the same time; 1 is greedy."""
    max_length: Count
    """A caption that has not ended by then is cut and marked."""
    length_penalty: Number
    """Captions compete by their log-probability divided by length to this power."""
    photos: Literal["auto"] | Annotated[tuple[str, ...], Field(min_length=1)]
    """File names (under images/) of photos to draw, or `auto`: spread over the test photos, or all without captions."""
    count: Shown
    """How many photos `auto` chooses."""
    layer: Layer | None
    """Decoder layer whose map is drawn and scored: 1 is the first, -1 the last, null the mean over layers."""
    head: Count | None
    """Attention head whose map is drawn and scored, from 1; null is the mean over heads."""
    repeats: Seeds
    """Seeds of further trainings of the captioner, measured beside the first (captioner.seed); [] is none."""
