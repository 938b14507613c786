"""One training of a captioner, from settings and data/captioning to build/captioner."""

import hashlib
from dataclasses import asdict
from pathlib import Path

import tokenizers
import torch
import transformers

from vit_atlas.captioning.dataset import CaptionDataset, CaptionedPhoto, read_dataset
from vit_atlas.captioning.model.backbones import Backbone, describe_backbone, make_backbone
from vit_atlas.captioning.model.network import CaptionNetwork, NetworkShape
from vit_atlas.captioning.model.trained import DESCRIPTION, save_captioner
from vit_atlas.captioning.model.vocabulary import learn_vocabulary
from vit_atlas.captioning.train import learning
from vit_atlas.captioning.train.features import cached_features, features_key
from vit_atlas.code_hash import code_hash
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.paths import CAPTION_VERIFY_CACHE, CAPTIONER, CHECKPOINTS
from vit_atlas.processes import count
from vit_atlas.settings import Captioner, CaptionerSettings
from vit_atlas.training.checkpoints import Checkpoints, only_one
from vit_atlas.training.loop import deterministic
from vit_atlas.training.trainer import with_precision

FEATURES = CHECKPOINTS / "caption-features"
"""Where features are kept between runs; beside the checkpoints, outside DVC's outs."""


def train_captioner(settings: Captioner, target: Path = CAPTIONER) -> None:
    """Train a captioner on data/captioning and write it into ``target``; with a published captioner, write down which.

    An interrupted run of the same settings and captions is resumed from its last checkpoint. Features of photos are
    kept, and reused while photos and backbone stay the same.

    Raises:
        AtlasError: captions are missing or wrong, backbone or disk do not serve, the stage is running in this folder
            already, or torchrun started several processes of it.
    """
    if count() > 1:
        raise AtlasError("caption-train trains in one process: start it with python, not with torchrun")
    if not isinstance(settings, CaptionerSettings):
        with atomic_folder(target) as folder:
            write_json(folder / DESCRIPTION, settings.model_dump())
        return
    dataset = read_dataset(cache=CAPTION_VERIFY_CACHE)
    dataset.tell()
    with only_one("caption-train"), deterministic():
        _train(with_precision(settings), dataset, make_backbone(settings), target)


def _train(settings: CaptionerSettings, dataset: CaptionDataset, backbone: Backbone, target: Path) -> None:
    train, val = dataset.of_split("train"), dataset.of_split("val")
    tokenizer = learn_vocabulary([text for photo in train for text in photo.captions], settings.minimum_count)
    shape = NetworkShape(
        vocabulary=len(tokenizer),
        feature_channels=backbone.channels,
        width=settings.width,
        heads=settings.heads,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        feed_forward=4 * settings.width,
        positions=settings.longest,
        dropout=settings.dropout,
        output_width=2 * settings.width,
    )
    torch.manual_seed(settings.seed)
    fresh = CaptionNetwork(shape)
    paths = [photo.path for photo in [*train, *val]]
    # A CNN's features are too far off in bfloat16: EfficientNet-Lite2's correlate by 0.987, those of a ViT by 0.99997.
    half = settings.backbone == "model" and settings.precision == "bfloat16"
    key = features_key(paths, describe_backbone(settings), backbone, half)
    features = cached_features(paths, backbone, FEATURES, key, half)
    checkpoints = Checkpoints(_run_key(settings, shape, train, val, key))
    learning.fit_captioner(
        fresh,
        learning.CaptionedFeatures(features[: len(train)], [p.captions for p in train], tokenizer, settings.longest),
        learning.CaptionedFeatures(features[len(train) :], [p.captions for p in val], tokenizer, settings.longest),
        tokenizer,
        settings,
        checkpoints,
    )
    with atomic_folder(target) as folder:
        network = fresh.eval().to("cpu")
        save_captioner(folder, backbone, describe_backbone(settings), network, tokenizer, dataset.description)
    # Only now: whoever is cut off before goes on from the last checkpoint.
    checkpoints.remove()


def _run_key(
    settings: CaptionerSettings,
    shape: NetworkShape,
    train: list[CaptionedPhoto],
    val: list[CaptionedPhoto],
    features: str,
) -> str:
    """Hash of all that a training's result depends on, so that nobody resumes a training that was another one."""
    versions = [library.__version__ for library in (torch, transformers, tokenizers)]
    parts = [settings.model_dump(mode="json"), asdict(shape), features, versions, code_hash(__name__)]
    digest = hashlib.sha256(repr(parts).encode())
    for photo in [*train, *val]:
        digest.update(repr((photo.name, photo.split, photo.captions)).encode())
    return f"captioner-{digest.hexdigest()[:32]}"
