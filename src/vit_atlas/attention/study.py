"""The study of attn-viz: choose on validation photos, score on test photos, test faithfulness, look for outliers.

Everything measured is here and becomes tables; :mod:`vit_atlas.attention.summary` makes numbers of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas.attention.artefacts import Diagnosis, NormHistogram, diagnose, norm_histogram, patch_norms
from vit_atlas.attention.collect import MaskedPhotos, PhotoMaps, collect, with_masks
from vit_atlas.attention.faithfulness import Curves, Question, deletion_insertion
from vit_atlas.attention.maps import MapOptions
from vit_atlas.attention.methods import CUT, LEVELS, METHODS
from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.sanity import COLUMNS, sanity_table
from vit_atlas.attention.scores import best_threshold, object_share, score_photo
from vit_atlas.data.manifest import Manifest
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import Classifier
from vit_atlas.numbering import to_index
from vit_atlas.processes import shared
from vit_atlas.settings import AttentionSettings

Array = np.ndarray

SCORE_COLUMNS = (
    "image_id",
    "class_name",
    "correct",
    "method",
    "miou",
    "mass",
    "pointing",
    "ap",
    "segmentation_ap",
    *CUT,
)


TOGETHER = 4
"""Photos whose changed versions fill the forward passes of deletion and insertion together, on one process."""


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
    """Everything measured."""

    choice: Choice
    tested: MaskedPhotos
    maps: PhotoMaps | None
    """Of the test photos; None where none has a mask."""
    scores: pd.DataFrame
    """One row a photo and method: image_id, class_name, correct, method, miou, mass, pointing, ap."""
    faithfulness: pd.DataFrame
    """One row a photo and method: image_id, method, deletion, insertion."""
    sanity: pd.DataFrame
    """One row a photo and method, see :func:`vit_atlas.attention.sanity.sanity_table`."""
    norms: NormHistogram
    """Of the scored photos' patch tokens; of the drawn photos' where none was scored."""
    diagnoses: list[Diagnosis]
    """Outliers of the last layer, one a scored photo."""
    readout: str = "the head reads the class token"
    """Where all maps start: how the head reads the tokens."""

    def save(self, folder: Path, drawn: int) -> None:
        """Write :meth:`tables` as ``scores.csv``, ``outliers.csv`` and ``study.json`` into ``folder``."""
        scores, outliers, facts = self.tables(drawn)
        write_csv(folder / "scores.csv", scores)
        write_csv(folder / "outliers.csv", outliers)
        write_json(folder / "study.json", facts)

    def tables(self, drawn: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
        """What summaries read: a row a photo and method, a row a photo's outliers, and what was chosen and counted.

        Args:
            drawn: how many photos were drawn.
        """
        scores = self.scores
        for more in (self.faithfulness, self.sanity):
            scores = pd.merge(scores, more, how="left", on=["image_id", "method"])
        columns = ["share", "outside", "left", "attention"]
        rows = [[int(one.outliers.sum()), *(getattr(one, name) for name in columns)] for one in self.diagnoses]
        outliers = pd.DataFrame(rows, columns=["outliers", *columns])
        facts = {
            "photos_drawn": drawn,
            "readout": self.readout,
            "excluded": self.tested.excluded,
            "too_small": self.tested.too_small,
            "choice": asdict(self.choice),
            "layers": len(self.norms.thresholds),
            "outlier_threshold": self.norms.thresholds[-1],
        }
        return scores, outliers, facts


def run_study(
    classifier: Classifier, manifest: Manifest, settings: AttentionSettings, drawn: Sequence[str] = ()
) -> Study:
    """Score every method of ``settings`` against masks, and by deletion and insertion.

    Args:
        classifier: the model.
        manifest: all photos.
        settings: methods, numbers of photos, seed.
        drawn: photos (image_id) whose token norms are told where no photo can be scored.

    Raises:
        AtlasError: a photo or mask cannot be opened, or the model's attention cannot be recorded.
    """
    options = MapOptions(layer=to_index(settings.layer), seed=settings.seed)
    choice = choose(classifier, manifest, settings, options)
    options = replace(options, head=choice.head)
    tested = with_masks(manifest, "test", settings.scored_photos, classifier, settings.seed)
    maps = None
    if len(tested.photos):
        maps = collect(classifier, tested.photos, settings.methods, options, "Maps of test photos")
    scores = score_table(tested, maps, choice)
    faithfulness = faithfulness_table(classifier, tested, maps, settings)
    sanity = pd.DataFrame(columns=list(COLUMNS))
    if maps is not None and settings.sanity_photos:
        places = _picked(settings.sanity_photos, tested, settings.seed)
        some = Manifest(tested.photos.frame.iloc[places])
        sanity = sanity_table(classifier, some, maps.take(places), options, settings.seed)
    norms = norm_histogram(maps.norms if maps is not None else _norms(classifier, manifest.find(drawn)))
    return Study(
        choice,
        tested,
        maps,
        scores,
        faithfulness,
        sanity,
        norms,
        _diagnoses(tested, maps, norms),
        classifier.readout.sentence,
    )


def choose(classifier: Classifier, manifest: Manifest, settings: AttentionSettings, options: MapOptions) -> Choice:
    """Choose the best head and every method's threshold on validation photos.

    Training photos serve where no validation photo has a mask: the test photos never choose.

    Raises:
        AtlasError: methods that need a chosen head are the only ones, and no photo can choose it.
    """
    most = -(-settings.scored_photos // 2)
    known = with_masks(manifest, "val", most, classifier, settings.seed)
    if not len(known.photos):
        known = with_masks(manifest, "train", most, classifier, settings.seed)
    if not len(known.photos):
        if all(METHODS[name].chosen_head for name in settings.methods):
            raise AtlasError(
                "attention.methods has best_head alone, but no training or validation photo has a usable mask to choose"
                " the head by: add another method, such as head_mean"
            )
        return Choice(None, {}, 0, known.excluded, known.too_small)
    found = collect(classifier, known.photos, settings.methods, options, "Maps of validation photos")
    ious = {name: _ious(values, known.masks) for name, values in found.maps.items()}
    heads = [_ious(found.heads[:, head], known.masks) for head in range(found.heads.shape[1])]
    head = int(np.argmax([iou.mean(axis=0).max() for iou in heads]))
    ious |= {name: heads[head] for name in settings.methods if METHODS[name].chosen_head}
    thresholds = {name: best_threshold(iou) for name, iou in ious.items()}
    return Choice(head, thresholds, len(known.photos), known.excluded, known.too_small)


def score_table(tested: MaskedPhotos, maps: PhotoMaps | None, choice: Choice) -> pd.DataFrame:
    """Scores of every test photo and method; ``miou`` is the photo's IoU at the method's chosen threshold."""
    rows: list[tuple[object, ...]] = []
    for index, (photo, mask) in enumerate(zip(tested.photos, tested.masks, strict=True)):
        assert maps is not None
        names = list(maps.maps)
        score = score_photo(np.stack([maps.maps[name][index] for name in names]), mask)
        correct = bool(maps.predictions[index] == photo.label)
        for place, name in enumerate(names):
            threshold = choice.thresholds.get(name)
            iou = np.nan if threshold is None else score.iou[place, threshold]
            said = (iou, score.mass[place], score.pointing[place], score.ap[place])
            protocol = (score.ap_both[place], *score.cut[place])
            rows.append((photo.image_id, photo.class_name, correct, name, *said, *protocol))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def faithfulness_table(
    classifier: Classifier, tested: MaskedPhotos, maps: PhotoMaps | None, settings: AttentionSettings
) -> pd.DataFrame:
    """Deletion and insertion of a random sample of the test photos, for every method that ranks patches."""
    rows: list[tuple[object, ...]] = []
    names = [] if maps is None else [name for name in maps.maps if METHODS[name].ranks_patches]
    if maps is not None and names and settings.faithfulness_photos:
        steps, fillings = settings.faithfulness_steps, settings.faithfulness_fillings

        def question(place: int) -> Question:
            pixels = classifier.pixel_values([tested.photos[place].open()])
            return Question(pixels, int(maps.predictions[place]), np.stack([maps.maps[name][place] for name in names]))

        def areas(places: Sequence[int]) -> list[tuple[object, ...]]:
            answers = deletion_insertion(classifier.model, map(question, places), steps, fillings)
            ids = [tested.photos[place].image_id for place in places]
            pairs = zip(ids, answers, strict=True)
            return list(chain.from_iterable(_areas(image_id, names, curves) for image_id, curves in pairs))

        picked = _picked(settings.faithfulness_photos, tested, settings.seed).tolist()
        rows = list(chain.from_iterable(shared(areas, picked, TOGETHER, "Deletion and insertion")))
    return pd.DataFrame(rows, columns=["image_id", "method", "deletion", "insertion"])


def _picked(most: int, tested: MaskedPhotos, seed: int) -> Array:
    """Places (photos,), in order, of a random sample of at most ``most`` test photos."""
    count = min(most, len(tested.photos))
    return np.sort(np.random.default_rng(seed).choice(len(tested.photos), size=count, replace=False))


def _areas(image_id: str, names: Sequence[str], curves: Curves) -> list[tuple[object, ...]]:
    pairs = zip(names, curves.deletion_auc, curves.insertion_auc, strict=True)
    return [(image_id, name, float(deletion), float(insertion)) for name, deletion, insertion in pairs]


def _ious(maps: Array, masks: Sequence[Array]) -> Array:
    """IoU (photos, LEVELS) of one method's maps (photos, rows, columns)."""
    ious = np.empty((len(masks), LEVELS))
    for index, mask in enumerate(masks):
        ious[index] = score_photo(maps[index : index + 1], mask).iou[0]
    return ious


def _norms(classifier: Classifier, photos: Manifest) -> Array:
    traces = (run_pass(classifier, classifier.pixel_values([photo.open()]), gradients=False) for photo in photos)
    return np.concatenate([patch_norms(trace) for trace in traces])


def _diagnoses(tested: MaskedPhotos, maps: PhotoMaps | None, norms: NormHistogram) -> list[Diagnosis]:
    if maps is None:
        return []
    heads = maps.heads.mean(axis=1)
    return [
        diagnose(maps.norms[index, -1], norms.thresholds[-1], heads[index], object_share(mask, heads.shape[1:]))
        for index, mask in enumerate(tested.masks)
    ]
