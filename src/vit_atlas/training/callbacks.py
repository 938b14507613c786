"""What happens beside the training steps: epochs, checkpoints, selection, curves, the progress bar."""

import math
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vit_atlas.errors import AtlasError
from vit_atlas.processes import is_first, wait_for_all
from vit_atlas.tracking import Stream
from vit_atlas.training.checkpoints import Best, Checkpoints
from vit_atlas.training.datasets import EpochSampler
from vit_atlas.training.history import curve_points


class Epochs(TrainerCallback):
    """Tells the sampler which epoch begins, counted from the steps done, so that a resumed run agrees."""

    def __init__(self, sampler: EpochSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the sampler's epoch."""
        self._sampler.epoch = state.global_step * state.num_train_epochs // state.max_steps


class Keeper(TrainerCallback):
    """Marks whole checkpoints and keeps the weights of the best epoch."""

    def __init__(self, checkpoints: Checkpoints, score: str, loss: str) -> None:
        """Keep the weights with the highest ``score`` and the lowest ``loss``, names among the validation's results."""
        self._checkpoints = checkpoints
        self._score = score
        self._loss = loss

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log wherever a checkpoint is written: the mean loss since the last log is not part of a checkpoint."""
        if control.should_save:
            control.should_log = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        model: Any,
        **kwargs: Any,
    ) -> None:
        """Keep the weights if they are the best so far."""
        if state.is_world_process_zero:
            result = Best(metrics[self._score], metrics[self._loss], state.global_step)
            self._checkpoints.keep_if_better(result, model.state_dict())

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Declare the checkpoint whole, when every process has written its part."""
        wait_for_all()
        if state.is_world_process_zero:
            self._checkpoints.mark(state.global_step)


class Curves(TrainerCallback):
    """Streams the curves to the tracking server and stops a training that diverged."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Send one log."""
        points = curve_points(logs)
        if not all(math.isfinite(value) for value in points.values()):
            raise AtlasError(
                f"the loss is no longer a finite number at step {state.global_step}: training diverged, "
                "lower finetune.learning_rate or raise finetune.warmup_ratio"
            )
        if points:
            self._stream.log(state.global_step, points)


class Progress(TrainerCallback):
    """One bar over all steps, with the time left and the newest numbers."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._newest: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, at the step that a resumed training has reached."""
        self._bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc="training", unit="step", disable=not is_first()
        )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move on by a step."""
        if self._bar is not None:
            self._bar.update(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Show the newest losses and accuracy."""
        shown = {name: value for name, value in curve_points(logs).items() if name != "learning_rate"}
        self._newest.update({name: f"{value:.3f}" for name, value in shown.items()})
        if self._bar is not None:
            self._bar.set_postfix(self._newest, refresh=False)

    def close(self) -> None:
        """Close the bar, also after an exception."""
        if self._bar is not None:
            self._bar.close()
