"""The training loop: transformers' Trainer with the settings' learning rates, loss, order of photos, checkpoints."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import EvalPrediction, TrainingArguments

from vit_atlas.processes import count
from vit_atlas.settings import FinetuneSettings
from vit_atlas.tracking import Stream
from vit_atlas.training.callbacks import Curves
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import EpochSampler
from vit_atlas.training.history import history_table
from vit_atlas.training.sharing import IGNORED, SharedBatches, Uncounted, batch_share
from vit_atlas.training.trainer import CheckpointedTrainer, make_arguments

LOGS_PER_EPOCH = 10


def training_arguments(settings: FinetuneSettings, photos: int, checkpoints: Checkpoints) -> TrainingArguments:
    """The Trainer's arguments for ``photos`` training photos.

    Raises:
        AtlasError: several processes cannot share a batch.
    """
    compiled = settings.compile == "on" or (settings.compile == "auto" and torch.cuda.is_available())
    return make_arguments(
        settings,
        photos,
        checkpoints,
        LOGS_PER_EPOCH,
        per_device_eval_batch_size=batch_share(settings.batch_size),
        torch_compile=compiled,
        dataloader_num_workers=settings.workers,
        # With several processes: a whole model may hold parameters that no photo reaches, such as a mask token.
        ddp_find_unused_parameters=settings.trainable_blocks == "all",
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


class NetworkTrainer(CheckpointedTrainer):
    """The Trainer with our loss and parameter groups, also where several processes train together."""

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self, settings: FinetuneSettings, groups: list[dict[str, Any]], weights: Tensor | None, **options: Any
    ) -> None:
        score, loss = "eval_accuracy", "eval_loss"
        if is_balanced(settings):
            # Both: the plain loss is that of the common classes, which rare ones need not lower.
            score, loss = "eval_balanced_accuracy", "eval_balanced_loss"
        super().__init__(compute_metrics=validation_results, score=score, loss=loss, **options)
        self._settings = settings
        self._groups = groups
        self._weights = weights

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy; smoothed in training, plain in validation."""
        outputs = model(**inputs)
        logits, labels = outputs["logits"].float(), inputs["labels"]
        smoothing = self._settings.label_smoothing if model.training else 0.0
        if model.training and (count() > 1 or self._weights is not None):
            loss = self._summed_loss(logits, labels, smoothing)
        else:
            loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        return (loss, outputs) if return_outputs else loss

    def _summed_loss(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """This process's part of the mean over the whole batch, times their number: averaging gradients divides by it.

        The last batch of an epoch may give the processes unequal numbers of photos. A photo's weight counts by itself,
        not against the others of its batch: over all training photos the weights' mean is 1.
        """
        photos = self.accelerator.reduce((labels != IGNORED).sum(), "sum")
        weights = None if self._weights is None else self._weights.to(logits)
        total = functional.cross_entropy(logits, labels, weights, label_smoothing=smoothing, reduction="sum")
        return total * count() / photos

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the parameter groups given."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self._groups, fused=True)
        return self.optimizer

    def get_train_dataloader(self) -> DataLoader:
        """Training photos in the sampler's order; of several processes, each gets its part of every batch."""
        if count() == 1:
            return super().get_train_dataloader()
        loader: DataLoader = DataLoader(
            Uncounted(self.train_dataset),
            batch_sampler=SharedBatches(self._sampler, self._settings.batch_size),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # Not through accelerate, which would divide the batches among the processes once more.
        return loader


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

    Best is the highest accuracy on ``val``, and among equals the lowest loss there; both are means over classes where
    weights or sampling are balanced. A start from the probe is left only for an epoch with a lower loss as well.
    ``groups`` are the optimiser's parameter groups. A whole checkpoint in ``checkpoints`` is where training resumes.
    """
    labels: list[int] = train.labels  # type: ignore[attr-defined]
    # Where training starts from a head that fits already, that start counts as epoch 0, and may be the best.
    args.eval_on_start = settings.head_init == "probe"
    trainer = NetworkTrainer(
        settings,
        groups,
        weights=class_weights(labels) if settings.class_weights == "balanced" else None,
        sampler=EpochSampler(len(labels), settings.seed, labels if settings.sampling == "balanced" else None),
        checkpoints=checkpoints,
        callbacks=[Curves(stream)],
        model=Network(classifier),
        args=args,
        train_dataset=train,
        eval_dataset=val,
    )
    trainer.train_or_resume()
    trainer.load_best()
    return history_table(trainer.state.log_history)


def validation_results(predicted: EvalPrediction) -> dict[str, float]:
    """Accuracy, and the means over classes of accuracy and of cross-entropy (in nats): each class counts as much."""
    labels = np.asarray(predicted.label_ids)
    logits = torch.as_tensor(np.asarray(predicted.predictions), dtype=torch.float64)
    losses = functional.cross_entropy(logits, torch.as_tensor(labels), reduction="none").numpy()
    right = np.asarray(predicted.predictions).argmax(-1) == labels
    classes = [labels == label for label in np.unique(labels)]
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[one].mean() for one in classes])),
        "balanced_loss": float(np.mean([losses[one].mean() for one in classes])),
    }


def is_balanced(settings: FinetuneSettings) -> bool:
    """Whether rare classes count as much as common ones in training, and so in choosing the best epoch."""
    return "balanced" in (settings.class_weights, settings.sampling)


def class_weights(labels: Sequence[int]) -> Tensor:
    """Weights (classes,) of the loss: photos / (classes * photos of the class), as scikit-learn's ``balanced``.

    References:
        King and Zeng 2001, Logistic Regression in Rare Events Data
    """
    counts = torch.bincount(torch.as_tensor(labels))
    present = int((counts > 0).sum())
    return len(labels) / (present * counts.clamp(min=1)).float()


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
