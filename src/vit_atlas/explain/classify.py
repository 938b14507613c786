"""What the classifier makes of one photo: its likeliest classes, and maps by the methods asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vit_atlas.attention.contrast import difference
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import METHODS, class_specific, needing
from vit_atlas.attention.passes import run_pass
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.explain.sources import shown
from vit_atlas.io.files import read_json
from vit_atlas.models.classifier import Classifier
from vit_atlas.numbering import exists, to_index
from vit_atlas.paths import ATTENTION_METRICS, PARAMS
from vit_atlas.settings import load_settings, settings_outside_a_project

TOP = 5
"""Likeliest classes that are told."""


class Prediction(NamedTuple):
    """A class and how likely the model finds it, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Contrast:
    """Why not another class: what class-specific methods show for it, beside what they show for the explained one."""

    asked: Prediction
    """The other class."""
    explained: str
    """The class that it is compared with."""
    maps: dict[str, np.ndarray]
    """Method -> map (rows, columns) for the class asked for."""
    differences: dict[str, np.ndarray]
    """Method -> that map less the explained class's, in multiples of an even map."""


@dataclass(frozen=True)
class Classification:
    """What a classifier says of a photo, and where it looked."""

    predictions: list[Prediction]
    """The likeliest classes, the likeliest first."""
    maps: dict[str, np.ndarray]
    """Method -> map (rows, columns), not negative; its scale means nothing."""
    contrasts: tuple[Contrast, ...] = ()
    """One for each class that was asked for."""


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
    readout: str
    """What the head reads, which maps follow: a sentence."""
    classes: tuple[int, ...] = ()
    """Labels of the classes to compare the answer with, each once."""

    def label(self, method: str) -> str:
        """How pictures call the map."""
        head = f" ({self.head + 1})" if METHODS[method].chosen_head and self.head is not None else ""
        layer = f", layer {self.layer + 1} of {self.layers}" if METHODS[method].one_layer else ""
        return f"{METHODS[method].label}{head}{layer}"


def request_maps(
    classifier: Classifier, methods: Sequence[str], layer: int, own: bool, classes: Sequence[str] = ()
) -> MapRequest:
    """Check which maps are asked for.

    Args:
        classifier: the model.
        methods: keys of :data:`vit_atlas.attention.methods.METHODS`.
        layer: number of the layer: 1 is the first, -1 the last.
        own: the model is the pipeline's own, so attn-viz may have chosen a best head for it.
        classes: names of classes to compare the answer with.

    Raises:
        AtlasError: there is no such method, layer or class, no method among several classes' explains one class, or no
            photos have chosen the best head of this layer.
    """
    layers = classifier.layer_count
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise AtlasError(f"--method {unknown[0]} does not exist: use {', '.join(METHODS)}")
    if not exists(layer, layers):
        raise AtlasError(
            f"--layer {layer} does not exist: the model has {layers} layers, 1 to {layers}, or -1 for the last"
        )
    labels = find_labels(classifier.id2label, classes)
    if labels and not class_specific(methods):
        raise AtlasError(
            f"--class compares maps of classes, and {', '.join(methods)} make the same map for every class: add one of "
            f"{', '.join(class_specific())} with --method, or leave --method out"
        )
    place = to_index(layer) % layers
    head = _best_head(place, layers, own) if needing(methods, "chosen_head") else None
    return MapRequest(tuple(dict.fromkeys(methods)), place, layers, head, classifier.readout.sentence, labels)


def find_labels(id2label: Mapping[int, str], names: Sequence[str], asked_by: str = "--class") -> tuple[int, ...]:
    """Labels of classes by their names, each once; a number that is no class's name is a label itself.

    Raises:
        AtlasError: a class does not exist, or its name is that of several; one sentence for each such name.
    """
    found: list[int] = []
    problems: list[str] = []
    for name in names:
        labels = [label for label, known in id2label.items() if known == name]
        labels = labels or [label for label, known in id2label.items() if known.casefold() == name.casefold()]
        if not labels and name.isdecimal() and int(name) in id2label:
            labels = [int(name)]
        if len(labels) == 1:
            found += labels
        elif labels:
            several = " and ".join(map(str, labels))
            problems.append(f"{asked_by} {name} is the name of the classes {several}: give the number of one")
        else:
            problems.append(f"{asked_by} {name} is no class of the model: {_nearest(name, list(id2label.values()))}")
    if problems:
        raise AtlasError("; ".join(problems))
    return tuple(dict.fromkeys(found))


def read_photo(path: Path, content: bytes | None = None) -> Image.Image:
    """Open a photo as upright RGB, without decoding one of more pixels than ``data.max_pixels`` allows.

    ``content`` are the file's bytes, where it is no file of this machine.

    Raises:
        AtlasError: the file cannot be read as one photo; the message names it.
    """
    photo = open_photo(
        path if content is None else content, settings_outside_a_project().data.max_pixels, called=shown(path)
    )
    photo.filename = shown(path)  # type: ignore[attr-defined]
    return photo


def classify(
    classifier: Classifier,
    photo: Image.Image,
    name: str,
    methods: Sequence[str],
    options: MapOptions,
    target: int | None = None,
    classes: Sequence[int] = (),
) -> Classification:
    """Pass a photo through a classifier once: its :data:`TOP` likeliest classes, and maps.

    Args:
        classifier: the model.
        photo: from :func:`vit_atlas.data.photos.open_photo`.
        name: how messages call the photo.
        methods: keys of :data:`vit_atlas.attention.methods.METHODS`.
        options: the layer and the head that methods read.
        target: label of the class that class-specific methods explain; None is the likeliest.
        classes: labels of classes whose maps by class-specific methods are compared with those of the explained one.

    Raises:
        AtlasError: the photo is narrower or lower than a patch, or the model's attention cannot be recorded.
    """
    classifier.require_patch(photo, name, "use a larger photo")
    gradients, states = (needing(methods, fact) for fact in ("gradients", "states"))
    pixels = classifier.pixel_values([photo])
    targets = None if target is None else torch.tensor([target], device=next(classifier.model.parameters()).device)
    trace = run_pass(classifier, pixels, targets, gradients=gradients, layers=states)
    maps = _of_one(make_maps(trace, [name], methods, options))
    probabilities = _probabilities(classifier, trace.logits[0])
    explained = str(classifier.id2label[int(trace.targets[0])])
    contrasts = []
    for label in classes:
        other = trace.explaining(torch.full_like(trace.targets, label))
        asked = _of_one(make_maps(other, [name], class_specific(methods), options))
        differences = {method: difference(maps[method], values)[0] for method, values in asked.items()}
        prediction = Prediction(str(classifier.id2label[label]), float(probabilities[label]))
        contrasts.append(Contrast(prediction, explained, asked, differences))
    return Classification(_likeliest(classifier, probabilities), maps, tuple(contrasts))


def _of_one(maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {method: values[0] for method, values in maps.items()}


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name.casefold(), [one.casefold() for one in known], n=3, cutoff=0.5)
    if near:
        return f"the nearest are {', '.join(one for one in known if one.casefold() in near)}"
    return f"it has {', '.join(known[:5])}" + (f" and {len(known) - 5} more" if len(known) > 5 else "")


def _probabilities(classifier: Classifier, logits: Tensor) -> Tensor:
    """Of every class (classes,): of a model with several answers a photo, each for itself."""
    several = classifier.model.config.problem_type == "multi_label_classification"
    return (logits.sigmoid() if several else torch.softmax(logits, dim=-1)).cpu()


def _likeliest(classifier: Classifier, probabilities: Tensor) -> list[Prediction]:
    # A stable sort: which of two equal classes comes first must not depend on the machine.
    order = probabilities.sort(descending=True, stable=True).indices[:TOP].tolist()
    return [Prediction(str(classifier.id2label[label]), float(probabilities[label])) for label in order]


def _best_head(layer: int, layers: int, own: bool) -> int:
    """The head that attn-viz chose on validation photos, for the layer that it read."""
    if not own:
        raise AtlasError(
            "--method best_head needs photos with masks to choose the head by, which `dvc repro attn-viz` does for "
            "build/model alone: with --model or --compare-with, use another method"
        )
    head = read_json(ATTENTION_METRICS).get("best_head.head") if ATTENTION_METRICS.is_file() else None
    if head is None:
        raise AtlasError(
            f"--method best_head needs a head chosen on photos with masks, and {ATTENTION_METRICS} names none: run "
            "`dvc repro attn-viz` with masks and best_head in attention.methods, or use another method"
        )
    chosen = to_index(load_settings().attention.layer if PARAMS.is_file() else -1) % layers
    if chosen != layer:
        raise AtlasError(
            f"--method best_head: its head was chosen in layer {chosen + 1}, not in layer {layer + 1}: leave --layer "
            "out, or use another method"
        )
    return int(head) - 1
