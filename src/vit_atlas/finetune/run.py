"""One fine-tuning from settings and manifest to build/model and build/history.csv."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.code_hash import code_hash
from vit_atlas.data.augmentation import PhotoAugmentation
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.finetune.cache import bounded
from vit_atlas.finetune.head import clean_features, start_from_probe
from vit_atlas.finetune.lora import FOLDER, Adapter, add_adapters, merge_adapters
from vit_atlas.finetune.optimizer import freeze, parameter_groups
from vit_atlas.finetune.probe import LinearProbe, fit_probe, write_probe
from vit_atlas.finetune.tokens import trunk_tokens
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.frames import write_csv
from vit_atlas.model_card import write_card
from vit_atlas.models.classifier import Classifier, device_name, load_pretrained
from vit_atlas.models.readout import find_readout
from vit_atlas.models.trunk import split
from vit_atlas.paths import CLASSES, HISTORY, MANIFEST, MODEL, VALIDATION
from vit_atlas.processes import from_first, is_first, joined
from vit_atlas.settings import AugmentSettings, FinetuneSettings, ModelSettings
from vit_atlas.tracking import Stream, open_stream, training_key
from vit_atlas.training.checkpoints import Checkpoints, only_one, run_key
from vit_atlas.training.datasets import AugmentedPhotos, PlainPhotos
from vit_atlas.training.loop import deterministic, fit, training_arguments
from vit_atlas.training.record import record_training
from vit_atlas.training.trainer import with_precision

STARTING_POINT_KEPT = (
    "no epoch was better on the validation photos than the starting point (the linear probe's head on the pretrained "
    "features), which is kept: lower finetune.learning_rate, or train more with more photos"
)


def finetune(model: ModelSettings, augment: AugmentSettings, settings: FinetuneSettings) -> None:
    """Fine-tune the pretrained model on the manifest's train split, select on its val split, write the outputs.

    The linear probe is fitted on the same photos: the baseline, and where settings say so the head to start from.

    An interrupted run of the same settings, photos and code is resumed from its last checkpoint. The curves go to
    MLflow while they grow. Photos of the test split are never opened. Under torchrun the processes share the work, and
    the first of them writes.

    Raises:
        AtlasError: inputs are missing or wrong (each reader says which); the disk has no room; the stage is running
            in this folder already; several processes cannot share a batch.
    """
    sections: dict[str, Any] = {"model": model, "augment": augment, "finetune": settings}
    with one_training(settings), trained(model, augment, settings, lambda: _stream(sections)) as training:
        if is_first():
            if training.best_step == 0:
                sys.stderr.write(f"warning: {STARTING_POINT_KEPT}\n")
            history = training.history
            with atomic_folder(MODEL) as folder:
                training.classifier.save(folder)
                if training.adapter is not None:
                    training.adapter.save(folder / FOLDER)
                # Found anew: how much a head reads of what can change while it is trained.
                readout = find_readout(training.classifier.model, training.classifier.layout).sentence
                kept = history[history["step"] == training.best_step]
                write_card(folder, sections, training.manifest, kept, readout)
            write_probe(training.probe, training.features)
            write_csv(HISTORY, history)
            write_csv(VALIDATION, training.validation)
            record_training(*training.made)


@dataclass(frozen=True)
class Training:
    """A finished training."""

    manifest: Manifest
    classifier: Classifier
    """With the weights of the best epoch, on the CPU."""
    adapter: Adapter | None
    """What was merged into it; None where it was trained without adapters."""
    history: pd.DataFrame
    """See :mod:`vit_atlas.training.history`."""
    probe: LinearProbe | None
    """The baseline; None where settings ask for none."""
    features: dict[str, np.ndarray]
    """By split (train, val), what the probe was fitted on; empty without one."""
    best_step: int
    """After which the best epoch ended; 0 is the starting point."""
    made: tuple[str, str, float, bool]
    """Device, precision, seconds, and whether it was resumed, see :func:`vit_atlas.training.record.record_training`."""

    @property
    def validation(self) -> pd.DataFrame:
        """The rows of the history with a validation result."""
        return self.history.dropna(subset=["val_loss"])


@contextmanager
def one_training(settings: FinetuneSettings) -> Iterator[None]:
    """Keep other trainings out of this folder, bring this one's processes together, and bound what it leaves.

    Raises:
        AtlasError: the stage is running in this folder already.
    """
    with only_one("finetune") if is_first() else nullcontext(), joined(), bounded(settings.trunk_cache_gb):
        yield


@contextmanager
def trained(
    model: ModelSettings,
    augment: AugmentSettings,
    settings: FinetuneSettings,
    stream: Callable[[], AbstractContextManager[Stream]],
) -> Iterator[Training]:
    """Train, inside of :func:`one_training`, for a block that writes what it makes of the result.

    Only then are the checkpoints removed: whoever is cut off before goes on from the last. The curves go to ``stream``,
    which is opened when the training begins.

    Raises:
        AtlasError: see :func:`finetune`.
    """
    manifest, classes = Manifest.read(), read_classes(CLASSES)
    train, val = manifest.require("train"), manifest.require("val")
    classifier = load_pretrained(model, classes, settings.seed)
    settings = with_precision(settings)
    sections: dict[str, Any] = {"model": model, "augment": augment, "finetune": settings}
    initial = classifier.model.state_dict()
    checkpoints = Checkpoints(from_first(lambda: run_key(Path(MANIFEST), sections, initial, code_hash(__name__))))
    started, resumed = time.monotonic(), from_first(checkpoints.latest) is not None
    probe, features = _probe(classifier, train, val, settings)
    if probe is not None and settings.head_init == "probe":
        start_from_probe(classifier, probe)
    photos = AugmentedPhotos(train, _augmentation(classifier, augment))
    with stream() as curves, deterministic():
        history = train_classifier(
            classifier, photos, PlainPhotos(val, classifier.processor), settings, checkpoints, curves
        )
        best = from_first(checkpoints.best)
        assert best is not None
        args = training_arguments(settings, len(train), checkpoints)
        precision = "bfloat16" if args.bf16 else "float32"
        made = (device_name(args.device), precision, time.monotonic() - started, resumed)
        adapter = merge_adapters(classifier)
        yield Training(manifest, classifier, adapter, history, probe, features, best.step, made)
    if is_first():
        checkpoints.remove()


def _probe(
    classifier: Classifier, train: Manifest, val: Manifest, settings: FinetuneSettings
) -> tuple[LinearProbe | None, dict[str, np.ndarray]]:
    """The linear probe and the features that it was fitted on, where it is asked for."""
    if not (settings.linear_probe or settings.head_init == "probe"):
        return None, {}
    features = clean_features(classifier, {"train": train, "val": val}, settings.precision == "bfloat16")
    labels = {"train": train.labels, "val": val.labels}
    return from_first(lambda: fit_probe(features, labels, len(classifier.id2label))), features


def _stream(sections: dict[str, Any]) -> AbstractContextManager[Stream]:
    if is_first():
        return open_stream(training_key(MANIFEST, sections), sections)
    return nullcontext(Stream(None, None))


def train_classifier(
    classifier: Classifier,
    train: AugmentedPhotos,
    val: PlainPhotos,
    settings: FinetuneSettings,
    checkpoints: Checkpoints,
    stream: Stream,
) -> pd.DataFrame:
    """Train in place, all of the model or its last blocks on cached activations; returns the history.

    With ``settings.lora_rank`` the model is left with adapters, for :func:`vit_atlas.finetune.lora.merge_adapters`.
    """
    args = training_arguments(settings, len(train), checkpoints)
    model = classifier.model.to(args.device)
    if settings.lora_rank:
        add_adapters(classifier, settings)
    if settings.trainable_blocks == "all":
        groups = parameter_groups(model, settings)
        history = fit(model, train, val, groups, settings, args, checkpoints, stream)
    else:
        parts = split(model, settings.trainable_blocks, classifier.image_size)
        if not settings.lora_rank:
            freeze(model, settings.trainable_blocks)
        groups = parameter_groups(model, settings)
        # Cached activations need no loading: worker processes would only copy them.
        tail_args = training_arguments(settings.model_copy(update={"workers": 0}), len(train), checkpoints)
        train_tokens, val_tokens = trunk_tokens(
            parts.trunk,
            train,
            val,
            views=min(settings.cached_views, settings.epochs),
            shape=classifier.state_shape,
            workers=settings.workers,
            device=args.device,
            bfloat16=args.bf16,
        )
        history = fit(parts.tail, train_tokens, val_tokens, groups, settings, tail_args, checkpoints, stream)
    model.requires_grad_(True).eval().to("cpu")
    return history


def _augmentation(classifier: Classifier, settings: AugmentSettings) -> PhotoAugmentation:
    processor = classifier.processor
    return PhotoAugmentation(
        settings, classifier.image_size, processor.image_mean, processor.image_std, processor.resample, settings.seed
    )
