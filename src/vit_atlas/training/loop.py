"""The training loop: transformers' Trainer with the settings' learning rates, loss, order of photos, checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import EvalPrediction, PrinterCallback, Trainer, TrainingArguments

from vit_atlas.settings import FinetuneSettings
from vit_atlas.tracking import Stream
from vit_atlas.training.callbacks import Curves, Epochs, Keeper, Progress
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import EpochSampler
from vit_atlas.training.history import history_table

LOGS_PER_EPOCH = 10


def training_arguments(settings: FinetuneSettings, photos: int, checkpoints: Checkpoints) -> TrainingArguments:
    """The Trainer's arguments for ``photos`` training photos."""
    cuda = torch.cuda.is_available()
    steps = -(-photos // (settings.batch_size * max(1, torch.cuda.device_count())))
    half = settings.precision == "bfloat16" or (
        settings.precision == "auto" and cuda and torch.cuda.is_bf16_supported()
    )
    return TrainingArguments(
        output_dir=str(checkpoints.folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup_ratio * steps * settings.epochs),
        logging_strategy="steps",
        logging_steps=max(1, steps // LOGS_PER_EPOCH),
        logging_nan_inf_filter=False,
        # By steps, not by epoch: an evaluation at an epoch's last step then comes before the checkpoint of that step.
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        seed=settings.seed,
        bf16=half,
        # Without this, bfloat16 on a machine with no accelerator is taken for a mistake.
        use_cpu=not torch.accelerator.is_available(),
        torch_compile=settings.compile == "on" or (settings.compile == "auto" and cuda),
        dataloader_num_workers=settings.workers,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )


class Network(nn.Module):
    """A classifier as the Trainer sees it: a plain module, so that its checkpoints hold plain state dicts."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (photos, classes); ``labels`` are there for the Trainer and not used."""
        del labels
        return {"logits": self.classifier(pixel_values=pixel_values).logits}


class NetworkTrainer(Trainer):
    """The Trainer with our loss, parameter groups and order of photos."""

    optimizer: torch.optim.Optimizer | None

    def __init__(self, smoothing: float, groups: list[dict[str, Any]], sampler: EpochSampler, **options: Any) -> None:
        super().__init__(compute_metrics=accuracy, **options)
        self._smoothing = smoothing
        self._groups = groups
        self._sampler = sampler

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy; smoothed in training, plain in validation."""
        outputs = model(**inputs)
        smoothing = self._smoothing if model.training else 0.0
        loss = functional.cross_entropy(outputs["logits"].float(), inputs["labels"], label_smoothing=smoothing)
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the parameter groups given."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self._groups, fused=True)
        return self.optimizer

    def get_train_dataloader(self) -> DataLoader:
        """Training photos in the sampler's order."""
        loader: DataLoader = DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            sampler=self._sampler,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)


def fit(
    classifier: Any,
    train: Dataset,
    val: Dataset,
    groups: list[dict[str, Any]],
    settings: FinetuneSettings,
    args: TrainingArguments,
    checkpoints: Checkpoints,
    stream: Stream,
) -> pd.DataFrame:
    """Train ``classifier`` in place and leave it with the weights of its best epoch; returns the history.

    Best is the highest accuracy on ``val``, and among equals the lowest loss there. A whole checkpoint in
    ``checkpoints`` is where training goes on. ``groups`` are the optimiser's parameter groups.
    """
    network = Network(classifier)
    sampler = EpochSampler(len(train), settings.seed)  # type: ignore[arg-type]
    progress = Progress()
    trainer = NetworkTrainer(
        settings.label_smoothing,
        groups,
        sampler,
        model=network,
        args=args,
        train_dataset=train,
        eval_dataset=val,
        callbacks=[Epochs(sampler), Keeper(checkpoints), Curves(stream), progress],
    )
    trainer.remove_callback(PrinterCallback)
    latest = checkpoints.latest()
    try:
        trainer.train(resume_from_checkpoint=str(latest) if latest else None)
    finally:
        progress.close()
    network.load_state_dict(checkpoints.best_weights())
    return history_table(trainer.state.log_history)


def accuracy(predicted: EvalPrediction) -> dict[str, float]:
    """Share of photos whose highest logit is the true class's."""
    return {"accuracy": float(np.mean(predicted.predictions.argmax(-1) == predicted.label_ids))}


@contextmanager
def deterministic() -> Iterator[None]:
    """Use deterministic kernels where there are any, and put the switches back."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    switches: Any = torch.utils.deterministic
    filling = switches.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling every new tensor with NaN first finds bugs, costs time, and changes no result.
    switches.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        switches.fill_uninitialized_memory = filling
