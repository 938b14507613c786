"""The study behind metrics/attention.json: choose on validation photos, score on test photos, test faithfulness."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from vit_atlas.attention.collect import Collected, Masked, collect, with_masks
from vit_atlas.attention.faithfulness import Curves, deletion_insertion
from vit_atlas.attention.maps import MapOptions
from vit_atlas.attention.passes import look
from vit_atlas.attention.scores import LEVELS, best_threshold, score_photo
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.models.classifier import Classifier
from vit_atlas.settings import AttentionSettings

Array = np.ndarray


@dataclass(frozen=True)
class Choice:
    """What the validation photos decided."""

    head: int | None
    """Head of ``best_head``; None where no photo outside the test has a mask."""
    thresholds: dict[str, int]
    """Method -> index of the threshold with the highest mean IoU."""
    photos: int
    """How many photos decided."""
    excluded: int
    """How many were left out for an empty or full mask."""
    too_small: int
    """How many were left out for being smaller than a patch."""


@dataclass(frozen=True)
class Study:
    """Everything measured on the test photos."""

    choice: Choice
    tested: Masked
    found: Collected | None
    """Maps of the test photos; None where none has a mask."""
    scores: pd.DataFrame
    """One row a photo and method: image_id, class_name, correct, method, miou, mass, pointing, ap."""
    faithfulness: pd.DataFrame
    """One row a photo and method: image_id, method, deletion, insertion."""


def run_study(classifier: Classifier, manifest: pd.DataFrame, settings: AttentionSettings) -> Study:
    """Score every method of ``settings`` against masks, and by deletion and insertion.

    Raises:
        AtlasError: a photo or mask cannot be opened, or the model's attention cannot be recorded.
    """
    options = MapOptions(layer=settings.layer, seed=settings.seed)
    choice = choose(classifier, manifest, settings, options)
    options = replace(options, head=choice.head)
    tested = with_masks(manifest, "test", settings.scored_photos, classifier, settings.seed)
    found = None
    if len(tested.photos):
        found = collect(classifier, tested.photos, settings.methods, options, "Maps of test photos")
    scores = score_table(tested, found, choice)
    faithfulness = faithfulness_table(classifier, tested, found, settings)
    return Study(choice, tested, found, scores, faithfulness)


def choose(classifier: Classifier, manifest: pd.DataFrame, settings: AttentionSettings, options: MapOptions) -> Choice:
    """Choose the best head and every method's threshold on validation photos.

    Training photos serve where no validation photo has a mask: the test photos never choose.

    Raises:
        AtlasError: ``best_head`` is the only method and no photo can choose the head.
    """
    most = -(-settings.scored_photos // 2)
    known = with_masks(manifest, "val", most, classifier, settings.seed)
    if not len(known.photos):
        known = with_masks(manifest, "train", most, classifier, settings.seed)
    if not len(known.photos):
        if set(settings.methods) == {"best_head"}:
            raise AtlasError(
                "attention.methods has best_head alone, but no training or validation photo has a usable mask to choose"
                " the head by: add another method, such as head_mean"
            )
        return Choice(None, {}, 0, known.excluded, known.too_small)
    found = collect(classifier, known.photos, settings.methods, options, "Maps of validation photos")
    ious = {name: _ious(values, known.masks) for name, values in found.maps.items()}
    heads = [_ious(found.heads[:, head], known.masks) for head in range(found.heads.shape[1])]
    head = int(np.argmax([iou.mean(axis=0).max() for iou in heads]))
    if "best_head" in settings.methods:
        ious["best_head"] = heads[head]
    thresholds = {name: best_threshold(iou) for name, iou in ious.items()}
    return Choice(head, thresholds, len(known.photos), known.excluded, known.too_small)


def score_table(tested: Masked, found: Collected | None, choice: Choice) -> pd.DataFrame:
    """Scores of every test photo and method; ``miou`` is the photo's IoU at the method's chosen threshold."""
    rows = []
    if found is not None:
        names = list(found.maps)
        for index, (photo, mask) in enumerate(zip(tested.photos.to_dict("records"), tested.masks, strict=True)):
            score = score_photo(np.stack([found.maps[name][index] for name in names]), mask)
            for place, name in enumerate(names):
                threshold = choice.thresholds.get(name)
                rows.append(
                    {
                        "image_id": photo["image_id"],
                        "class_name": photo["class_name"],
                        "correct": bool(found.predictions[index] == int(photo["label"])),
                        "method": name,
                        "miou": np.nan if threshold is None else score.iou[place, threshold],
                        "mass": score.mass[place],
                        "pointing": score.pointing[place],
                        "ap": score.ap[place],
                    }
                )
    columns = ["image_id", "class_name", "correct", "method", "miou", "mass", "pointing", "ap"]
    return pd.DataFrame(rows, columns=columns)


def faithfulness_table(
    classifier: Classifier, tested: Masked, found: Collected | None, settings: AttentionSettings
) -> pd.DataFrame:
    """Deletion and insertion of a sample of the test photos, drawn by lot, for every method that orders patches."""
    rows: list[dict[str, object]] = []
    if found is not None and settings.faithfulness_photos:
        count = min(settings.faithfulness_photos, len(tested.photos))
        picked = np.random.default_rng(settings.seed).choice(len(tested.photos), size=count, replace=False)
        names = [name for name in found.maps if name != "uniform"]
        total = count * len(names) * settings.faithfulness_steps * 2
        with tqdm(total=total, desc="Deletion and insertion", unit="view") as bar:
            for index in sorted(picked):
                photo = tested.photos.iloc[index]
                seen = look(classifier, classifier.pixel_values([open_photo(photo["path"])]), gradients=False)
                maps = np.stack([found.maps[name][index] for name in names])
                curves = deletion_insertion(seen, maps, settings.faithfulness_steps, bar.update)
                rows += _areas(str(photo["image_id"]), names, curves)
    return pd.DataFrame(rows, columns=["image_id", "method", "deletion", "insertion"])


def _areas(image_id: str, names: Sequence[str], curves: Curves) -> list[dict[str, object]]:
    pairs = zip(names, curves.deletion_auc, curves.insertion_auc, strict=True)
    return [
        {"image_id": image_id, "method": name, "deletion": float(deletion), "insertion": float(insertion)}
        for name, deletion, insertion in pairs
    ]


def _ious(maps: Array, masks: Sequence[Array]) -> Array:
    """IoU (photos, LEVELS) of one method's maps (photos, rows, columns)."""
    found = np.empty((len(masks), LEVELS))
    for index, mask in enumerate(masks):
        found[index] = score_photo(maps[index : index + 1], mask).iou[0]
    return found
