"""Fine-tuning on few photos against the linear probe: ``python bench/bench_small_sets.py data/classification``.

Of every class the first ``--per-class`` training photos of a random order are kept; several numbers go round the
classes, which makes an uneven set. Validation photos are as many as ``data.val_fraction`` would give. The settings are
those of params.yaml with what the preset ``data=photos`` sets, and the options below. One row a seed: accuracy on the
test photos with its 95 % interval, the probe's, their difference photo by photo, the step that was kept (0 is the
starting point), and what the training took: seconds of processor time (with OMP_NUM_THREADS=1 about those of a quiet
machine), the process's peak memory in MB (10^6 bytes), and how many numbers learn. The probe is what the evaluate stage
would fit: the head that the training starts from. ``--scratch`` keeps what the frozen blocks make of the photos, so
that variants may be measured in processes of their own, as memory should be.
"""

import argparse
import csv
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from vit_atlas.data.augmentation import PhotoAugmentation
from vit_atlas.data.manifest import Manifest
from vit_atlas.data.prepare import prepare
from vit_atlas.estimates import Estimate
from vit_atlas.finetune.head import clean_features, start_from_probe
from vit_atlas.finetune.lora import add_adapters, merge_adapters
from vit_atlas.finetune.optimizer import freeze, parameter_groups
from vit_atlas.finetune.probe import fit_probe
from vit_atlas.finetune.tokens import trunk_tokens
from vit_atlas.models.classifier import Classifier, load_pretrained
from vit_atlas.models.trunk import split
from vit_atlas.settings import FinetuneSettings, Settings, load_settings
from vit_atlas.settings.presets import read_preset
from vit_atlas.tracking import Stream
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import AugmentedPhotos, CachedTokens, PlainPhotos
from vit_atlas.training.loop import deterministic, fit, training_arguments

COLUMNS = (
    "train_photos", "val_photos", "test_photos", "classes", "variant", "seed",
    "probe", "accuracy", "difference", "probe_balanced", "balanced", "difference_balanced", "kept_step", "steps",
    "val_at_start", "val_kept", "val_loss_kept", "cpu_seconds", "peak_mb", "learning",
)  # fmt: skip


@dataclass(frozen=True)
class Photos:
    """A small set."""

    classes: list[str]
    train: Manifest
    val: Manifest
    test: Manifest


def main() -> None:
    """Measure and print a CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photos in any layout that prepare knows")
    parser.add_argument("--per-class", type=int, nargs="+", help="training photos a class; all without it")
    parser.add_argument("--classes", type=int, help="only this many classes, those with the most photos")
    parser.add_argument("--test-from-train", type=int, default=0, help="move this many photos a class to the test")
    parser.add_argument("--variants", nargs="+", default=[""], help="such as class_weights=none,learning_rate=0.00005")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the training")
    parser.add_argument("--scratch", type=Path, help="folder for the frozen blocks' activations; removed without it")
    options = parser.parse_args()
    settings = load_settings()
    own = settings.finetune.model_copy(update=read_preset("data", "photos")["finetune"])
    settings = settings.model_copy(update={"finetune": own})
    photos = choose(options, settings)
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    here = Path.cwd()
    if options.scratch:
        options.scratch.mkdir(parents=True, exist_ok=True)
    with nullcontext(options.scratch) if options.scratch else tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # Checkpoints and the trunk's activations go there.
        linked = Path(scratch, options.folder)
        if not (options.folder.is_absolute() or linked.exists()):
            linked.parent.mkdir(parents=True, exist_ok=True)
            linked.symlink_to(here / options.folder)
        for seed in options.seeds:
            for row in measure(photos, settings, options, seed):
                table.writerow(row)
                sys.stdout.flush()
        os.chdir(here)


def choose(options: argparse.Namespace, settings: Settings) -> Photos:
    """Take the small set; which photos it holds is a function of the folder and the options alone."""
    frame = prepare(options.folder, settings.data).manifest.frame
    sizes = frame["class_name"].value_counts()
    names = sorted(sizes.index[: options.classes])
    frame = frame[frame["class_name"].isin(names)].assign(label=lambda rows: rows["class_name"].map(names.index))
    kept: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    chance = np.random.default_rng(0)
    for place, name in enumerate(names):
        rows = {part: chance.permutation(frame.index[(frame["class_name"] == name) & (frame["split"] == part)])
                for part in kept}  # fmt: skip
        moved, left = np.split(rows["train"], [options.test_from_train])
        wanted = options.per_class[place % len(options.per_class)] if options.per_class else len(left)
        share = settings.data.val_fraction / (1 - settings.data.val_fraction - settings.data.test_fraction)
        val = rows["val"][: max(1, round(wanted * share))] if options.per_class else rows["val"]
        kept = {part: kept[part] + list(new) for part, new in zip(kept, (left[:wanted], val, [*rows["test"], *moved]),
                strict=True)}  # fmt: skip
    return Photos(names, *(Manifest(frame.loc[sorted(kept[part])]) for part in ("train", "val", "test")))


def measure(photos: Photos, settings: Settings, options: argparse.Namespace, seed: int) -> Any:
    """Yield one row a variant; they share the frozen trunk's activations."""
    own = settings.finetune.model_copy(update={"seed": seed, "cached_views": 1})
    classifier = load_pretrained(settings.model, photos.classes, seed)
    splits = {"train": photos.train, "val": photos.val}
    labels = {name: rows.labels for name, rows in splits.items()}
    start_from_probe(classifier, fit_probe(clean_features(classifier, splits, False), labels, len(photos.classes)))
    start = {name: value.clone() for name, value in classifier.model.state_dict().items()}
    processor = classifier.processor
    augmentation = PhotoAugmentation(
        settings.augment, classifier.image_size, processor.image_mean, processor.image_std, processor.resample,
        settings.augment.seed
    )  # fmt: skip
    train, held_out = AugmentedPhotos(photos.train, augmentation), Manifest(join(photos.val, photos.test))
    parts = split(classifier.model, int(own.trainable_blocks), classifier.image_size)
    shape = (classifier.layout.tokens, classifier.model.config.hidden_size)
    views, others = trunk_tokens(
        parts.trunk, train, PlainPhotos(held_out, processor), views=1, shape=shape, workers=0,
        device=torch.device("cpu"), bfloat16=False
    )  # fmt: skip
    tokens, count = others._tokens[0], len(photos.val)
    val = CachedTokens([tokens[:count]], others.labels[:count])
    test = CachedTokens([tokens[count:]], others.labels[count:])
    probe = right(parts.tail.eval(), test)
    for variant in options.variants:
        changes = {
            key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in variant.split(",") if one)
        }
        chosen = FinetuneSettings.model_validate(own.model_dump() | changes)
        classifier.model.load_state_dict(start)
        yield [len(photos.train), len(photos.val), len(photos.test), len(photos.classes), variant, seed,
               *train_one(classifier, views, val, test, chosen, probe)]  # fmt: skip


def train_one(
    classifier: Classifier,
    train: CachedTokens,
    val: CachedTokens,
    test: CachedTokens,
    settings: FinetuneSettings,
    probe: np.ndarray,
) -> list[Any]:
    """Train the last blocks as finetune does; returns the row's numbers from the probe's on."""
    checkpoints = Checkpoints("bench")
    model = classifier.model
    if settings.lora_rank:
        add_adapters(classifier, settings)
    else:
        freeze(model, int(settings.trainable_blocks))
    tail = split(model, int(settings.trainable_blocks)).tail
    learning = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    args = training_arguments(settings, len(train), checkpoints)
    Path("/proc/self/clear_refs").write_text("5")  # From here on the peak is the training's.
    started = time.process_time()
    with deterministic():
        history = fit(tail, train, val, parameter_groups(model, settings), settings, args, checkpoints,
                      Stream(None, None))  # fmt: skip
    taken, peak = time.process_time() - started, peak_megabytes()
    merge_adapters(classifier)
    best = checkpoints.best()
    assert best is not None
    checkpoints.remove()
    answers, labels = right(tail.eval(), test), np.asarray(test.labels)
    measured = [Estimate.mean(probe), Estimate.mean(answers), Estimate.mean(answers.astype(float) - probe)]
    measured += [Estimate.mean_of_groups(item, labels) for item in (probe, answers, answers.astype(float) - probe)]
    start = history.loc[history["step"] == 0, "val_accuracy"]
    return [*(f"{item:.3f}" for item in measured), best.step, int(history["step"].max()), float(start.iloc[0]),
            best.accuracy, best.loss, round(taken), round(peak), learning]  # fmt: skip


def peak_megabytes() -> float:
    """Peak memory of this process since it was last reset (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024 / 1e6


def right(tail: Any, photos: CachedTokens) -> np.ndarray:
    """Whether the answer is right, (photos,) booleans."""
    answers = []
    with torch.inference_mode():
        for start in range(0, len(photos), 32):
            batch = [photos[index]["pixel_values"] for index in range(start, min(start + 32, len(photos)))]
            answers.append(tail(pixel_values=torch.stack(batch)).logits.argmax(-1).numpy())
    return np.concatenate(answers) == np.asarray(photos.labels)


def join(first: Manifest, second: Manifest) -> Any:
    """The rows of two manifests, one after the other."""
    import pandas as pd

    return pd.concat([first.frame, second.frame])


if __name__ == "__main__":
    main()
