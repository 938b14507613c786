"""The pretrained network's features of the photos, and a head that starts from the linear probe on them."""

from typing import Any

import numpy as np
import torch

from vit_atlas.data.manifest import Manifest
from vit_atlas.finetune.cache import BATCH, Wanted, network_identity, remembered
from vit_atlas.finetune.probe import LinearProbe
from vit_atlas.models.classifier import Classifier, device
from vit_atlas.models.inference import forward
from vit_atlas.models.trunk import head_names, head_of
from vit_atlas.processes import is_first
from vit_atlas.training.datasets import PlainPhotos


def clean_features(classifier: Classifier, splits: dict[str, Manifest], bfloat16: bool) -> dict[str, np.ndarray]:
    """What the head of a pretrained classifier reads of photos without augmentation, if it is not known yet.

    Args:
        classifier: with its pretrained weights.
        splits: photos by split.
        bfloat16: whether the network runs in mixed precision.

    Returns:
        By split an array (photos, width), float32.

    Raises:
        AtlasError: the model has no linear head, or the disk has no room.
    """
    network: dict[str, Any] = network_identity(
        classifier.model, __name__, "vit_atlas.models.inference", without=head_names(classifier.model)
    )
    network |= {"device": device().type, "bfloat16": bfloat16}
    width = head_of(classifier.model).in_features
    wanted = [
        Wanted({"photos": PlainPhotos(photos, classifier.processor).identity(), "features of": network},
               (len(photos), width), np.float32)
        for photos in splits.values()
    ]  # fmt: skip
    names = list(splits)

    def fill(place: int, features: np.memmap) -> None:
        found = forward(None, classifier, splits[names[place]], BATCH, f"Linear probe: {names[place]} photos", bfloat16)
        if is_first():
            features[:] = found.features

    count = sum(map(len, splits.values()))
    arrays = remembered(wanted, fill, f"the trunk cache (features of {count} photos)")
    return {name: np.array(array) for name, array in zip(names, arrays, strict=True)}


def start_from_probe(classifier: Classifier, probe: LinearProbe) -> None:
    """Put a linear probe's weights into the classification head, in place.

    A random head sends large, random gradients into features that are good already, which costs most where there are
    few photos a class; a head that fits the features leaves them alone at first.

    References:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution,
        https://arxiv.org/abs/2202.10054
    """
    head = head_of(classifier.model)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weights))
        head.bias.copy_(torch.from_numpy(probe.bias))
