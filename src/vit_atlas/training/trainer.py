"""What every training here shares: transformers' Trainer with our order of photos, and checkpoints to go on from."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from vit_atlas.errors import AtlasError
from vit_atlas.io.files import telling_full_disk
from vit_atlas.models.classifier import in_bfloat16
from vit_atlas.processes import from_first, wait_for_all
from vit_atlas.settings import CaptionerSettings, FinetuneSettings
from vit_atlas.training.callbacks import Epochs, Keeper, Progress
from vit_atlas.training.checkpoints import Checkpoints
from vit_atlas.training.datasets import EpochSampler
from vit_atlas.training.sharing import batch_share

S = TypeVar("S", FinetuneSettings, CaptionerSettings)


def with_precision(settings: S) -> S:
    """The settings with the precision that `auto` stands for here: on another machine it may be the other one."""
    return settings.model_copy(update={"precision": "bfloat16" if in_bfloat16(settings.precision) else "float32"})


def make_arguments(
    settings: FinetuneSettings | CaptionerSettings,
    photos: int,
    checkpoints: Checkpoints,
    logs_per_epoch: int,
    **own: Any,
) -> TrainingArguments:
    """The Trainer's arguments for ``photos`` training photos: steps, rates, precision, logs and checkpoints.

    Args:
        settings: how to train.
        photos: of the training split.
        checkpoints: where checkpoints go.
        logs_per_epoch: how often the mean loss is written down.
        own: arguments of one kind of training alone.

    Raises:
        AtlasError: several processes cannot share a batch.
    """
    cuda = torch.cuda.is_available()
    steps = -(-photos // settings.batch_size)
    args = TrainingArguments(
        output_dir=str(checkpoints.folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=batch_share(settings.batch_size),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup_ratio * steps * settings.epochs),
        logging_strategy="steps",
        logging_steps=max(1, steps // logs_per_epoch),
        logging_nan_inf_filter=False,
        # By steps, not by epoch: an evaluation at an epoch's last step then comes before the checkpoint of that step.
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=settings.checkpoint_steps,
        save_total_limit=2,
        seed=settings.seed,
        bf16=in_bfloat16(settings.precision),
        # Without this, bfloat16 on a machine with no accelerator is taken for a mistake.
        use_cpu=not torch.accelerator.is_available(),
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        **own,
    )
    if args.n_gpu > 1:
        # One process would spread a batch over all GPUs of the machine (DataParallel): slow, and another batch size.
        args._n_gpu = 1
    return args


class CheckpointedTrainer(Trainer):
    """The Trainer with our order of photos, its best weights kept, and its newest checkpoint to go on from."""

    def __init__(
        self,
        sampler: EpochSampler,
        checkpoints: Checkpoints,
        score: str,
        loss: str = "eval_loss",
        callbacks: Iterable[TrainerCallback] = (),
        collate: Callable[[list[Any]], Any] | None = None,
        **options: Any,
    ) -> None:
        """Make a trainer.

        Args:
            sampler: order of the training photos.
            checkpoints: where checkpoints and the best weights are kept.
            score: the validation result that chooses the best weights; higher is better.
            loss: the validation result that decides among equals; lower is better.
            callbacks: more of them, called before the progress bar.
            collate: makes a batch of the training photos; None is torch's own way.
            options: the Trainer's.
        """
        self._progress = Progress()
        used = [Epochs(sampler), Keeper(checkpoints, score, loss), *callbacks, self._progress]
        super().__init__(callbacks=used, **options)
        self.remove_callback(PrinterCallback)
        self._sampler = sampler
        self._checkpoints = checkpoints
        self._collate = collate

    def get_train_dataloader(self) -> DataLoader:
        """Training photos in the sampler's order."""
        loader: DataLoader = DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            sampler=self._sampler,
            collate_fn=self._collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def train_or_resume(self) -> None:
        """Train to the end, from the newest whole checkpoint where there is one.

        Raises:
            AtlasError: the disk is full.
        """
        latest = from_first(self._checkpoints.latest)
        if latest is not None:
            # A resumed training is not at its start.
            self.args.eval_on_start = False
        try:
            self.train(resume_from_checkpoint=str(latest) if latest else None)
        finally:
            self._progress.close()
        wait_for_all()

    def load_best(self) -> None:
        """Give the model the weights of the best validation result."""
        self.model.load_state_dict(self._checkpoints.best_weights())

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            with telling_full_disk(folder):
                super()._save_checkpoint(model, trial)
        except AtlasError:
            shutil.rmtree(folder, ignore_errors=True)  # The half of it would only take room.
            raise
