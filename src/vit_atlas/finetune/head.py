"""A head that starts from the linear probe."""

import torch

from vit_atlas.data.manifest import Manifest
from vit_atlas.finetune.probe import fit_probe
from vit_atlas.models.classifier import Classifier
from vit_atlas.models.inference import forward
from vit_atlas.models.trunk import head_of


def start_from_probe(classifier: Classifier, train: Manifest, val: Manifest, batch_size: int) -> None:
    """Put a linear probe's weights into the classification head, in place.

    A random head sends large, random gradients into features that are good already, which costs most where there are
    few photos a class; a head that fits the features leaves them alone at first.

    Args:
        classifier: with its pretrained weights.
        train: photos that the probe is fitted on, without augmentation.
        val: photos that choose the probe's strength.
        batch_size: photos a pass.

    Raises:
        AtlasError: the model has no linear head.

    References:
        Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution,
        https://arxiv.org/abs/2202.10054
    """
    head = head_of(classifier.model)
    splits = {"train": train, "val": val}
    features = {
        name: forward(None, classifier, photos.paths, batch_size, f"Head: {name} photos").features
        for name, photos in splits.items()
    }
    labels = {name: photos.labels for name, photos in splits.items()}
    probe = fit_probe(features, labels, head.out_features)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weights))
        head.bias.copy_(torch.from_numpy(probe.bias))
