"""One repeat of finetune: the same training with another seed, measured as the first one is."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from vit_atlas.attention.methods import forward_only
from vit_atlas.attention.study import SCORE_COLUMNS, run_study
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.predict import judge, predict
from vit_atlas.finetune.cache import BATCH, Wanted, network_identity, remembered
from vit_atlas.finetune.run import Training, one_training, trained
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import device, load_pretrained
from vit_atlas.models.trunk import split
from vit_atlas.paths import REPEATS
from vit_atlas.processes import count, is_first
from vit_atlas.settings import AttentionSettings, AugmentSettings, EvaluateSettings, FinetuneSettings, ModelSettings
from vit_atlas.tracking import Stream
from vit_atlas.training.datasets import PlainPhotos


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
        table = _predictions(training, model, other, evaluate)
        scores = _map_scores(training, attention)
        if is_first():
            with atomic_folder(REPEATS / str(seed)) as folder:
                write_csv(folder / "validation.csv", training.validation)
                write_csv(folder / "predictions.csv", table)
                write_csv(folder / "scores.csv", scores)


def _predictions(
    training: Training, model: ModelSettings, finetune: FinetuneSettings, evaluate: EvaluateSettings
) -> pd.DataFrame:
    """See :func:`vit_atlas.evaluation.predict.predict`; blocks that were not trained see the test photos once for all
    repeats."""
    classifier, classes = training.classifier.to_device(), read_classes()
    if finetune.trainable_blocks == "all" or count() > 1:
        return predict(training.manifest, classes, classifier, None, evaluate)[0]
    test = training.manifest.require("test")
    kept, size = finetune.trainable_blocks, classifier.image_size
    # Weights after the blocks, such as the last norm, were trained and are in a trunk, unused: it must not know them.
    trunk = split(load_pretrained(model, classes, 0).to_device().model, kept, size).trunk
    tail = split(classifier.model, kept, size).tail
    states = _states(trunk, PlainPhotos(test, classifier.processor), classifier.state_shape)
    with torch.inference_mode():
        parts = (torch.from_numpy(np.array(states[start : start + BATCH])) for start in range(0, len(test), BATCH))
        logits = np.concatenate([tail(pixel_values=part.to(device())).logits.float().cpu().numpy() for part in parts])
    return judge(test, classes, logits)


def _states(trunk: Any, photos: PlainPhotos, shape: tuple[int, int]) -> np.ndarray:
    """What enters the first trained block, (photos, tokens, dim), float32: as exact as without a cache."""
    identity = network_identity(trunk, __name__, "vit_atlas.models.trunk") | {"device": device().type}
    wanted = Wanted({"photos": photos.identity(), "network": identity}, (len(photos), *shape), np.float32)

    def fill(_: int, states: np.memmap) -> None:
        start = 0
        with torch.inference_mode():
            for batch in tqdm(DataLoader(photos, batch_size=BATCH), desc="frozen blocks, test photos", unit="batch"):
                found = trunk(batch["pixel_values"].to(device())).last_hidden_state
                states[start : start + len(found)] = found.cpu().numpy()
                start += len(found)

    return remembered([wanted], fill, f"the trunk cache ({len(photos)} test photos)")[0]


def _map_scores(training: Training, settings: AttentionSettings) -> pd.DataFrame:
    """Scores of :func:`vit_atlas.attention.methods.forward_only`, see :class:`vit_atlas.attention.study.Study`."""
    methods = tuple(forward_only(settings.methods))
    if not methods:
        return pd.DataFrame(columns=list(SCORE_COLUMNS))
    plain = settings.model_copy(update={"methods": methods, "faithfulness_photos": 0, "sanity_photos": 0})
    manifest = Manifest.read(masks=True)
    shown = manifest.require("test").image_ids[:1]
    return run_study(training.classifier.to_device(), manifest, plain, shown).scores
