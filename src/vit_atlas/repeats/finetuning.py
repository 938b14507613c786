"""One repeat of finetune: the same training with another seed, measured as the first one is."""

from contextlib import nullcontext

import pandas as pd

from vit_atlas.attention.methods import forward_only
from vit_atlas.attention.study import SCORE_COLUMNS, run_study
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.predict import predict
from vit_atlas.finetune.run import Training, one_training, trained
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import REPEATS
from vit_atlas.processes import is_first
from vit_atlas.settings import AttentionSettings, AugmentSettings, EvaluateSettings, FinetuneSettings, ModelSettings
from vit_atlas.tracking import Stream
from vit_atlas.training.history import write_history


def repeat_finetune(
    seed: int,
    model: ModelSettings,
    augment: AugmentSettings,
    finetune: FinetuneSettings,
    evaluate: EvaluateSettings,
    attention: AttentionSettings,
) -> None:
    """Train with ``seed`` instead of ``finetune.seed``; keep validation, predictions and map scores, but no model.

    The split and the augmented views are those of the first training; the head, the order of photos and dropout are
    not.

    Raises:
        AtlasError: see :func:`vit_atlas.finetune.run.finetune`.
    """
    other = finetune.model_copy(update={"seed": seed, "linear_probe": False})
    silent = nullcontext(Stream(None, None))
    with one_training(other), trained(model, augment, other, lambda: silent) as training:
        table, *_ = predict(training.manifest, read_classes(), training.classifier, None, evaluate)
        scores = _map_scores(training, attention)
        if is_first():
            with atomic_folder(REPEATS / str(seed)) as folder:
                write_history(training.validation, folder / "validation.csv")
                write_csv(folder / "predictions.csv", table)
                write_csv(folder / "scores.csv", scores)


def _map_scores(training: Training, settings: AttentionSettings) -> pd.DataFrame:
    """Scores of :func:`vit_atlas.attention.methods.forward_only`, see :class:`vit_atlas.attention.study.Study`."""
    methods = tuple(forward_only(settings.methods))
    if not methods:
        return pd.DataFrame(columns=list(SCORE_COLUMNS))
    plain = settings.model_copy(update={"methods": methods, "faithfulness_photos": 0, "sanity_photos": 0})
    manifest = Manifest.read(masks=True)
    shown = manifest.require("test").image_ids[:1]
    return run_study(training.classifier.to_device(), manifest, plain, shown).scores
