"""Two ratios of fine-tuning speed, from one run: ``python bench/bench_training.py``.

1. With the trunk cached and the last 3 blocks trained, how many times faster an epoch is than one with ``all``.
2. Images a second of full fine-tuning (photos decoded, augmented, through the Trainer) as a share of those of a bare
   PyTorch loop over tensors already in memory: same model, size and batch.

The photos are random JPEGs of 288x320 pixels. Compared are medians over batches of the same size, the variants taking
turns so that a busy machine slows all of them alike.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional

from vit_atlas.data.augmentation import PhotoAugmentation
from vit_atlas.data.manifest import Manifest
from vit_atlas.finetune.optimizer import parameter_groups
from vit_atlas.finetune.run import train_classifier
from vit_atlas.models.classifier import Classifier, load_pretrained
from vit_atlas.settings import AugmentSettings, FinetuneSettings, ModelSettings, load_settings
from vit_atlas.tracking import Stream
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import AugmentedPhotos, PlainPhotos
from vit_atlas.training.loop import NetworkTrainer, deterministic

PARAMS = Path(__file__).parent.parent / "params.yaml"
CLASSES = [f"class {number}" for number in range(12)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="hub id, local folder or `embedded`")
    parser.add_argument("--image-size", type=int, default=224, help="side in pixels")
    parser.add_argument("--photos", type=int, default=64, help="training photos")
    parser.add_argument("--batch-size", type=int, default=8, help="photos a step")
    parser.add_argument("--rounds", type=int, default=2, help="times that each variant takes its turn")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = ModelSettings(name=options.model, revision=None, image_size=options.image_size)
    times: dict[str, list[float]] = {"bare": [], "all": [], "tail": []}
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        rows = write_photos(options.photos)
        for _ in range(options.rounds):
            times["bare"] += bare_steps(load_pretrained(model, CLASSES, 0), options.photos, options.batch_size)
            times["all"] += trainer_steps(load_pretrained(model, CLASSES, 0), rows, options.batch_size, "all")
            times["tail"] += trainer_steps(load_pretrained(model, CLASSES, 0), rows, options.batch_size, 3)
    report({name: median(values) / options.batch_size for name, values in times.items()})


def report(seconds: dict[str, float]) -> None:
    """Print images a second and the two ratios."""
    print(f"threads: {torch.get_num_threads()}, torch {torch.__version__}")
    print(f"bare PyTorch loop, all blocks:      {1 / seconds['bare']:7.2f} images/s")
    print(f"finetune, trainable_blocks: all:    {1 / seconds['all']:7.2f} images/s")
    print(f"finetune, trainable_blocks: 3:      {1 / seconds['tail']:7.2f} images/s")
    print(f"an epoch with the trunk cached is {seconds['all'] / seconds['tail']:.2f} times faster than with all")
    print(f"full fine-tuning reaches {seconds['bare'] / seconds['all']:.3f} of the bare loop")


def bare_steps(classifier: Classifier, photos: int, batch_size: int) -> list[float]:
    """Seconds of each step of the loop that anyone would write, the first one left out."""
    model = classifier.model.train()
    pixels = torch.randn(photos, 3, *classifier.image_size)
    labels = torch.arange(photos) % len(CLASSES)
    optimizer = torch.optim.AdamW(parameter_groups(model, settings_for(batch_size, "all")), fused=True)
    seconds = []
    for start in range(0, photos, batch_size):
        begin = time.perf_counter()
        logits = model(pixel_values=pixels[start : start + batch_size]).logits
        functional.cross_entropy(logits, labels[start : start + batch_size], label_smoothing=0.1).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def trainer_steps(classifier: Classifier, photos: Manifest, batch_size: int, trainable: Any) -> list[float]:
    """Seconds from step to step of finetune: loading, augmentation, logs and all; the first one left out."""
    settings = settings_for(batch_size, trainable)
    processor = classifier.processor
    augment = AugmentSettings(
        policy="autoaugment", crop_scale=(0.08, 1.0), crop_ratio=(0.75, 1.3333), horizontal_flip=0.5, seed=0
    )
    augmentation = PhotoAugmentation(
        augment, classifier.image_size, processor.image_mean, processor.image_std, processor.resample, 0
    )
    checkpoints = Checkpoints("bench")
    with step_times() as begins, deterministic():
        train_classifier(
            classifier,
            AugmentedPhotos(photos, augmentation),
            PlainPhotos(Manifest(photos.frame[:1]), processor),
            settings,
            checkpoints,
            Stream(None, None),
        )
    checkpoints.remove()
    return np.diff(begins)[1:].tolist()


def settings_for(batch_size: int, trainable: Any) -> FinetuneSettings:
    """One epoch without checkpoints; all else as in this project's params.yaml."""
    values = {"epochs": 1, "batch_size": batch_size, "trainable_blocks": trainable, "checkpoint_steps": 10**6}
    return load_settings(PARAMS).finetune.model_copy(update=values)


@contextmanager
def step_times() -> Any:
    """Yield a list that grows by the time at each step's begin, which is after its photos were loaded."""
    begins: list[float] = []
    original: Callable[..., Any] = NetworkTrainer.training_step

    def timed(self: Any, *args: Any, **options: Any) -> Any:
        begins.append(time.perf_counter())
        return original(self, *args, **options)

    NetworkTrainer.training_step = timed
    try:
        yield begins
    finally:
        NetworkTrainer.training_step = original


@contextmanager
def working_in(folder: Path) -> Any:
    """Make ``folder`` the current one."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def write_photos(count: int) -> Manifest:
    """Photos with structure at several scales, listed as a manifest does."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        pixels = np.zeros((288, 320, 3), dtype=np.float32)
        for side in (4, 16, 64):
            noise = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            pixels += np.asarray(Image.fromarray(noise).resize((320, 288)), dtype=np.float32) / 3
        path = f"{number}.jpg"
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
        rows.append({"path": path, "image_id": path, "label": number % len(CLASSES)})
    return Manifest(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
