"""What the classifier makes of one photo: its likeliest classes, and maps by the methods asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import METHODS, needing
from vit_atlas.attention.passes import run_pass
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.explain.sources import shown
from vit_atlas.io.files import read_json
from vit_atlas.models.classifier import Classifier
from vit_atlas.paths import ATTENTION_METRICS, PARAMS
from vit_atlas.settings import load_settings, settings_outside_a_project

TOP = 5
"""Likeliest classes that are told."""


class Prediction(NamedTuple):
    """A class and how likely the model finds it, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Classification:
    """What a classifier says of a photo, and where it looked."""

    predictions: list[Prediction]
    """The likeliest classes, the likeliest first."""
    maps: dict[str, np.ndarray]
    """Method -> map (rows, columns), not negative; its scale means nothing."""


@dataclass(frozen=True)
class MapRequest:
    """The maps that are asked for, checked against the model."""

    methods: tuple[str, ...]
    """Keys of :data:`vit_atlas.attention.methods.METHODS`, each once."""
    layer: int
    """From 0."""
    layers: int
    """How many the model has."""
    head: int | None
    """Head of ``best_head``."""

    def label(self, method: str) -> str:
        """How pictures call the map."""
        head = f" ({self.head})" if METHODS[method].chosen_head else ""
        layer = f", layer {self.layer + 1} of {self.layers}" if METHODS[method].one_layer else ""
        return f"{METHODS[method].label}{head}{layer}"


def request_maps(classifier: Classifier, methods: Sequence[str], layer: int, own: bool) -> MapRequest:
    """Check which maps are asked for.

    Args:
        classifier: the model.
        methods: keys of :data:`vit_atlas.attention.methods.METHODS`.
        layer: negative counts from the last.
        own: the model is the pipeline's own, so attn-viz may have chosen a best head for it.

    Raises:
        AtlasError: there is no such method or layer, or no photos have chosen the best head of this layer.
    """
    layers = classifier.layer_count
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise AtlasError(f"--method {unknown[0]} does not exist: use {', '.join(METHODS)}")
    if not -layers <= layer < layers:
        raise AtlasError(
            f"--layer {layer} does not exist: the model has {layers} layers, 0 to {layers - 1}, or -1 for the last"
        )
    head = _best_head(layer % layers, layers, own) if needing(methods, "chosen_head") else None
    return MapRequest(tuple(dict.fromkeys(methods)), layer % layers, layers, head)


def read_photo(path: Path) -> Image.Image:
    """Open a photo as upright RGB, without decoding one of more pixels than ``data.max_pixels`` allows.

    Raises:
        AtlasError: the file cannot be read as one photo; the message names it.
    """
    photo = open_photo(path, settings_outside_a_project().data.max_pixels, called=shown(path))
    photo.filename = shown(path)  # type: ignore[attr-defined]
    return photo


def classify(
    classifier: Classifier,
    photo: Image.Image,
    name: str,
    methods: Sequence[str],
    options: MapOptions,
    target: int | None = None,
) -> Classification:
    """Pass a photo through a classifier once: its :data:`TOP` likeliest classes, and maps.

    Args:
        classifier: the model.
        photo: from :func:`vit_atlas.data.photos.open_photo`.
        name: how messages call the photo.
        methods: keys of :data:`vit_atlas.attention.methods.METHODS`.
        options: the layer and the head that methods read.
        target: label of the class that class-specific methods explain; None is the likeliest.

    Raises:
        AtlasError: the photo is narrower or lower than a patch, or the model's attention cannot be recorded.
    """
    classifier.require_patch(photo, name, "use a larger photo")
    gradients, states = (needing(methods, fact) for fact in ("gradients", "states"))
    pixels = classifier.pixel_values([photo])
    targets = None if target is None else torch.tensor([target], device=next(classifier.model.parameters()).device)
    trace = run_pass(classifier, pixels, targets, gradients=gradients, layers=states)
    maps = make_maps(trace, [name], methods, options)
    return Classification(_likeliest(classifier, trace.logits[0]), {name: values[0] for name, values in maps.items()})


def _likeliest(classifier: Classifier, logits: Tensor) -> list[Prediction]:
    several = classifier.model.config.problem_type == "multi_label_classification"
    probabilities = (logits.sigmoid() if several else torch.softmax(logits, dim=-1)).cpu()
    # A stable sort: which of two equal classes comes first must not depend on the machine.
    order = probabilities.sort(descending=True, stable=True).indices[:TOP].tolist()
    return [Prediction(str(classifier.id2label[label]), float(probabilities[label])) for label in order]


def _best_head(layer: int, layers: int, own: bool) -> int:
    """The head that attn-viz chose on validation photos, for the layer that it read."""
    if not own:
        raise AtlasError(
            "--method best_head needs photos with masks to choose the head by, which `dvc repro attn-viz` does for "
            "build/model alone: with --model, use another method"
        )
    head = read_json(ATTENTION_METRICS).get("best_head.head") if ATTENTION_METRICS.is_file() else None
    if head is None:
        raise AtlasError(
            f"--method best_head needs a head chosen on photos with masks, and {ATTENTION_METRICS} names none: run "
            "`dvc repro attn-viz` with masks and best_head in attention.methods, or use another method"
        )
    chosen = load_settings().attention.layer if PARAMS.is_file() else -1
    if chosen % layers != layer:
        raise AtlasError(
            f"--method best_head: its head was chosen in layer {chosen % layers}, not in layer {layer}: leave --layer "
            "out, or use another method"
        )
    return int(head)
