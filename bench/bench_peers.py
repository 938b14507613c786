"""The same model, photos, batch and size in three training loops: ``python bench/bench_peers.py [FOLDER]``.

- ``hf``: Hugging Face's Trainer, as its example run_image_classification.py sets it up;
- ``timm``: timm's model, transforms, optimiser, schedule and loss, as its train.py puts them together;
- ``all``, ``last 3``, ``lora``: finetune of this project: every block, the last three, adapters in the last three.

FOLDER is a project in which `dvc repro prepare` has run. All start from the weights of ``model.name``, crop and flip as
``augment`` says, without a colour policy, and train with AdamW, a cosine after a warm-up and smoothed labels.

1. Images a second from step to step, loading included: the median over ``--rounds`` rounds of ``--steps`` steps, in
   which all take turns, so that a busy machine slows all of them alike. Frozen blocks run before; see 2.
2. With ``--epochs``: seconds to the highest validation accuracy that all reach, the frozen blocks' run included.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from bench_training import PARAMS, step_times, working_in
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from transformers import Trainer, TrainerCallback, TrainingArguments

from vit_atlas.data.augmentation import PhotoAugmentation
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.data.photos import open_photo
from vit_atlas.finetune.run import train_classifier
from vit_atlas.models.classifier import Classifier, autocast, load_pretrained
from vit_atlas.settings import Settings, load_settings
from vit_atlas.tracking import Stream
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import AugmentedPhotos, PlainPhotos
from vit_atlas.training.loop import deterministic


@dataclass
class Job:
    """What is trained on, and what one training tells of itself."""

    settings: Settings
    classes: list[str]
    train: Manifest
    val: Manifest
    bfloat16: bool = False
    """Whether a peer trains in it, as its own option would; ours follows its setting."""
    begin: float = field(default_factory=time.perf_counter)
    steps: list[float] = field(default_factory=list)
    """When every step began, its photos loaded."""
    points: list[tuple[float, float]] = field(default_factory=list)
    """Seconds and accuracy of every validation."""

    def classifier(self) -> Classifier:
        """The pretrained model with a new head."""
        return load_pretrained(self.settings.model, self.classes, seed=0)

    def validated(self, accuracy: float) -> None:
        """A validation has ended."""
        self.points.append((time.perf_counter() - self.begin, accuracy))

    @property
    def warm_up(self) -> int:
        """Steps of the warm-up."""
        own = self.settings.finetune
        return round(-(-len(self.train) // own.batch_size) * own.epochs * own.warmup_ratio)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="a project with build/prepared")
    parser.add_argument("--batch-size", type=int, default=8, help="photos a step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a round")
    parser.add_argument("--rounds", type=int, default=12, help="times that each takes its turn; 0 leaves part 1 out")
    parser.add_argument("--epochs", type=int, default=0, help="of part 2; 0 leaves it out")
    parser.add_argument("--only", nargs="+", choices=list(LOOPS), default=list(LOOPS), help="some of them")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="finetune.compile of ours")
    parser.add_argument("--bfloat16", action="store_true", help="peers train in bfloat16 (--bf16; --amp)")
    options = parser.parse_args()
    if "timm" in options.only:
        try:
            import_module("timm")
        except ImportError:
            parser.error("timm is not installed: `pip install timm`, or leave it out with --only")
    with working_in(options.folder):
        photos, classes = Manifest.read(), read_classes()
        manifest = Manifest(photos.frame.assign(path=[str(Path(path).resolve()) for path in photos.paths]))
    settings = load_settings(PARAMS)
    own = {"batch_size": options.batch_size, "epochs": 1, "checkpoint_steps": 10**6, "compile": options.compile}
    few = manifest.split("train").frame.sample((options.steps + 2) * options.batch_size, replace=True, random_state=0)
    print(f"threads: {torch.get_num_threads()}, torch {torch.__version__}, batches of {options.batch_size}")
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        times: dict[str, list[float]] = {name: [] for name in options.only}
        for _ in range(options.rounds):
            for name in options.only:
                job = Job(changed(settings, **own), classes, Manifest(few), Manifest(few[:1]), options.bfloat16)
                LOOPS[name](job)
                times[name] += np.diff(job.steps)[1:].tolist()
        if options.rounds:
            print_speeds({name: options.batch_size / median(found) for name, found in times.items()})
        if options.epochs:
            parts = manifest.split("train"), manifest.split("val")
            jobs = {
                name: Job(changed(settings, **own, epochs=options.epochs), classes, *parts, options.bfloat16)
                for name in options.only
            }
            for name, job in jobs.items():
                job.begin = time.perf_counter()
                LOOPS[name](job)
            print_accuracies({name: job.points for name, job in jobs.items()})


def print_speeds(speeds: dict[str, float]) -> None:
    """Print images a second, and how much faster than the fastest peer that is."""
    peer = max((speeds[name] for name in ("hf", "timm") if name in speeds), default=float("nan"))
    for name, speed in speeds.items():
        print(f"{name:8} {speed:7.2f} images/s, {speed / peer:.2f} times the fastest peer")


def print_accuracies(points: dict[str, list[tuple[float, float]]]) -> None:
    """Print when each reached what all reach, and how it got there."""
    target = min(max(accuracy for _, accuracy in found) for found in points.values())
    print(f"seconds to a validation accuracy of {target:.3f}:")
    for name, found in points.items():
        seconds = next(at for at, accuracy in found if accuracy >= target)
        print(f"{name:8} {seconds:7.0f} s; " + ", ".join(f"{accuracy:.3f} at {at:.0f} s" for at, accuracy in found))


def changed(settings: Settings, **finetune: Any) -> Settings:
    """The settings without a colour policy, and with other values in ``finetune``."""
    sections = {
        "augment": settings.augment.model_copy(update={"policy": "none"}),
        "finetune": settings.finetune.model_copy(update=finetune),
    }
    return settings.model_copy(update=sections)


class Opened(Dataset):
    """Photos through the transforms of a peer."""

    def __init__(self, photos: Manifest, transform: Callable[[Any], torch.Tensor]) -> None:
        self._paths, self._labels, self._transform = photos.paths, photos.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(open_photo(self._paths[index])), self._labels[index]


def hugging_face(job: Job) -> None:
    """The Trainer with the transforms of its example script."""
    classifier, own, augment = job.classifier(), job.settings.finetune, job.settings.augment
    size, processor = classifier.image_size, classifier.processor
    end = [v2.PILToTensor(), v2.ToDtype(torch.float32, True), v2.Normalize(processor.image_mean, processor.image_std)]
    crop = v2.RandomResizedCrop(size, scale=augment.crop_scale, ratio=augment.crop_ratio)
    augmented = v2.Compose([crop, v2.RandomHorizontalFlip(augment.horizontal_flip), *end])

    class Told(TrainerCallback):
        def on_step_begin(self, *arguments: Any, **more: Any) -> None:
            job.steps.append(time.perf_counter())

        def on_evaluate(self, *arguments: Any, metrics: dict[str, float], **more: Any) -> None:
            job.validated(metrics["eval_accuracy"])

    def collate(items: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
        pixels, labels = zip(*items, strict=True)
        return {"pixel_values": torch.stack(pixels), "labels": torch.tensor(labels)}

    arguments = TrainingArguments(
        output_dir="hf",
        num_train_epochs=own.epochs,
        per_device_train_batch_size=own.batch_size,
        per_device_eval_batch_size=own.batch_size,
        learning_rate=own.learning_rate,
        weight_decay=own.weight_decay,
        lr_scheduler_type="cosine",
        warmup_steps=job.warm_up,
        label_smoothing_factor=own.label_smoothing,
        eval_strategy="epoch",
        save_strategy="no",
        dataloader_num_workers=own.workers,
        bf16=job.bfloat16,
        use_cpu=not torch.accelerator.is_available(),
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )
    Trainer(
        model=classifier.model,
        args=arguments,
        train_dataset=Opened(job.train, augmented),
        eval_dataset=Opened(job.val, v2.Compose([v2.Resize(size), *end])),
        data_collator=collate,
        compute_metrics=lambda said: {"accuracy": float((said.predictions.argmax(-1) == said.label_ids).mean())},
        callbacks=[Told()],
    ).train()


def timm_loop(job: Job) -> None:
    """What timm's train.py does in one process, with its model."""
    data, losses, optimizers, schedules = (
        import_module(f"timm.{room}") for room in ("data", "loss", "optim", "scheduler")
    )
    classifier, own, augment = job.classifier(), job.settings.finetune, job.settings.augment
    side, processor = classifier.image_size[0], classifier.processor
    model = timm_model(classifier, side)
    shape = {"input_size": (3, side, side), "mean": processor.image_mean, "std": processor.image_std}
    crop = {"scale": augment.crop_scale, "ratio": augment.crop_ratio, "hflip": augment.horizontal_flip}
    augmented = data.create_transform(**shape, **crop, is_training=True, color_jitter=None, interpolation="bicubic")
    plain = data.create_transform(**shape, crop_pct=1.0, crop_mode="squash", interpolation="bicubic")
    train = DataLoader(Opened(job.train, augmented), own.batch_size, shuffle=True, num_workers=own.workers)
    val = DataLoader(Opened(job.val, plain), own.batch_size, num_workers=own.workers)
    optimizer = optimizers.create_optimizer_v2(model, "adamw", lr=own.learning_rate, weight_decay=own.weight_decay)
    kind = {"num_epochs": own.epochs, "updates_per_epoch": len(train), "step_on_epochs": False}
    # Epochs, of which the warm-up may be a part.
    warm_up = job.warm_up / len(train)
    schedule, _ = schedules.create_scheduler_v2(optimizer, "cosine", warmup_epochs=warm_up, warmup_prefix=True, **kind)
    loss, done = losses.LabelSmoothingCrossEntropy(own.label_smoothing), 0
    for _ in range(own.epochs):
        model.train()
        for pixels, labels in train:
            job.steps.append(time.perf_counter())
            with autocast(pixels.device, job.bfloat16):
                value = loss(model(pixels), labels)
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            schedule.step_update(num_updates=done)
        model.eval()
        with torch.inference_mode():
            right = sum(int((model(pixels).argmax(-1) == labels).sum()) for pixels, labels in val)
        job.validated(right / len(job.val))


_TIMM_NAMES = (
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.cls_token", "cls_token"),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^encoder\.layer", "blocks"),
    (r"^layernorm", "norm"),
    (r"attention\.o_proj", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
)


def timm_model(classifier: Classifier, side: int) -> Any:
    """timm's ViT-S/14 with the weights of a DINOv2 of transformers; its head reads the class token alone."""
    state: dict[str, torch.Tensor] = {}
    for name, value in classifier.model.base_model.state_dict().items():
        for pattern, new in _TIMM_NAMES:
            name = re.sub(pattern, new, name)
        state[name] = value
    for name in [name for name in state if ".attention.q_proj." in name]:
        parts = [state.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        state[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    model = import_module("timm").create_model(
        "vit_small_patch14_dinov2", img_size=side, num_classes=len(classifier.id2label)
    )
    state["pos_embed"] = import_module("timm.layers").resample_abs_pos_embed(
        state["pos_embed"], list(model.patch_embed.grid_size)
    )
    missing = model.load_state_dict(state, strict=False)
    assert (missing.unexpected_keys, {*missing.missing_keys}) == ([], {"head.weight", "head.bias"}), missing
    return model


def ours(job: Job, **changes: Any) -> None:
    """finetune, with ``changes`` of its settings."""

    class Told(Stream):
        def log(self, step: int, metrics: Any) -> None:
            if "val_accuracy" in metrics:
                job.validated(metrics["val_accuracy"])

    classifier, own = job.classifier(), job.settings.finetune.model_copy(update=changes)
    processor = classifier.processor
    augmentation = PhotoAugmentation(
        job.settings.augment, classifier.image_size, processor.image_mean, processor.image_std, processor.resample, 0
    )
    photos = AugmentedPhotos(job.train, augmentation), PlainPhotos(job.val, processor)
    checkpoints = Checkpoints("bench")
    with step_times() as begins, deterministic():
        train_classifier(classifier, *photos, own, checkpoints, Told(None, None))
    checkpoints.remove()
    job.steps += begins


LOOPS: dict[str, Callable[[Job], None]] = {
    "hf": hugging_face,
    "timm": timm_loop,
    "all": lambda job: ours(job, trainable_blocks="all", lora_rank=0),
    "last 3": lambda job: ours(job, trainable_blocks=3, lora_rank=0),
    "lora": lambda job: ours(job, trainable_blocks=3, lora_rank=8),
}


if __name__ == "__main__":
    main()
