"""The pictures of attn-viz: chosen photos with their maps, and the study's numbers drawn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from vit_atlas.attention.artefacts import Diagnosis, NormHistogram, diagnose, norm_histogram, patch_norms
from vit_atlas.attention.collect import Collected, from_look
from vit_atlas.attention.maps import BASELINES, LABELS, MapOptions, needs_gradients
from vit_atlas.attention.passes import Look, look
from vit_atlas.attention.scores import comparison_size, resize_mask, score_photo, usable
from vit_atlas.attention.study import Study
from vit_atlas.attention.summary import Metrics, class_table
from vit_atlas.data.photos import open_mask, open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.figures.attention import Guess, draw_photo
from vit_atlas.figures.maps import Bar, Panel, Row, draw_classes, draw_comparison, draw_layers, draw_norms, draw_scores
from vit_atlas.figures.style import save
from vit_atlas.io.names import safe_stems
from vit_atlas.models.classifier import Classifier
from vit_atlas.settings import AttentionSettings

Array = np.ndarray

SUMMARIES = ("comparison", "layers", "norms", "scores", "by_class")
"""Pictures beside those of single photos."""

SCORE_NAMES = {
    "miou": "mean IoU at one threshold, chosen on other photos",
    "mass": "mass inside the object",
    "pointing": "pointing game",
    "ap": "average precision",
    "faithfulness": "insertion minus deletion AUC, {photos_faithfulness} photos",
}

COMPARED = 8
"""Photos in the comparison of methods: more rows could not be read."""

MOST_CLASSES = 60
"""With more classes than this, the table by class is not drawn: nobody could read it."""


@dataclass(frozen=True)
class Chosen:
    """A photo to draw."""

    image_id: str
    path: str
    stem: str
    """File name of its pictures, without extension."""
    photo: Image.Image
    """RGB, upright."""
    mask: Array | None
    """(height, width) uint8 at the photo's own size; None where it has none."""
    guess: Guess
    """What the model says of it."""
    seen: Look
    """The pass over it, as a batch of one."""


def look_at(
    classifier: Classifier, manifest: pd.DataFrame, image_ids: Sequence[str], gradients: bool
) -> Iterator[Chosen]:
    """Yield the photos ``image_ids`` one after the other, each with the classifier's pass over it.

    Raises:
        AtlasError: a photo cannot be opened, or is narrower or lower than one patch.
    """
    rows = manifest.set_index("image_id").loc[list(image_ids)]
    pairs = zip(rows.iterrows(), safe_stems(image_ids, SUMMARIES), strict=True)
    for (image_id, row), stem in tqdm(pairs, total=len(rows), desc="Drawing attention", unit="photo"):
        photo = open_photo(row["path"])
        require_patch(photo, classifier, str(row["path"]))
        seen = look(classifier, classifier.pixel_values([photo]), gradients=gradients)
        probability = torch.softmax(seen.logits[0], dim=-1)
        guess = Guess(
            name=Path(row["path"]).name,
            truth=str(row["class_name"]),
            guess=classifier.id2label[int(seen.targets[0])],
            confidence=float(probability[seen.targets[0]]),
        )
        mask = open_mask(row["mask"], row["mask_kind"]) if row["mask"] else None
        yield Chosen(str(image_id), str(row["path"]), stem, photo, mask, guess, seen)


def require_patch(photo: Image.Image, classifier: Classifier, path: str) -> None:
    """Check that a photo is at least one patch wide and high: a map of less has nothing to point at.

    Raises:
        AtlasError: it is not.
    """
    height, width = classifier.layout.patch
    if photo.width < width or photo.height < height:
        raise AtlasError(
            f"{path} is {photo.width}x{photo.height} pixels, less than one patch of {width}x{height}, so a map of it "
            "means nothing: leave it out of attention.photos"
        )


def draw_photos(
    classifier: Classifier,
    manifest: pd.DataFrame,
    image_ids: Sequence[str],
    study: Study,
    histogram: NormHistogram | None,
    settings: AttentionSettings,
    folder: Path,
    also: Callable[[Chosen], None] = lambda chosen: None,
) -> dict[str, Array]:
    """Draw every chosen photo, the comparison of methods on the first ones, and all layers of the first photo.

    ``also`` is called with each photo while its pass is at hand, so that nobody has to look at it twice.

    Returns:
        What build/attention/maps.npz holds: image_ids, paths, methods, and maps (photos, methods, rows, columns).
    """
    options = MapOptions(layer=settings.layer, head=study.choice.head, seed=settings.seed)
    rows: list[Row] = []
    found: list[Collected] = []
    paths: list[str] = []
    for chosen in look_at(classifier, manifest, image_ids, needs_gradients(settings.methods)):
        part = from_look(chosen.seen, [chosen.image_id], settings.methods, options)
        save(_photo_figure(chosen, part, histogram, settings.layer), folder / f"{chosen.stem}.png")
        if not rows:
            maps = torch.cat([chosen.seen.class_rows(layer) for layer in range(len(chosen.seen.records))])
            save(draw_layers(chosen.photo, maps.detach().cpu().numpy(), chosen.guess), folder / "layers.png")
        rows.append(_comparison_row(chosen, part, study))
        found.append(part)
        paths.append(chosen.path)
        also(chosen)
    save(draw_comparison(rows[:COMPARED], "IoU with the mask"), folder / "comparison.png")
    methods = list(found[0].maps)
    return {
        "image_ids": np.array(list(image_ids)),
        "paths": np.array(paths),
        "methods": np.array(methods),
        "maps": np.stack([np.stack([part.maps[name][0] for name in methods]) for part in found]),
    }


def draw_study(study: Study, metrics: Metrics, histogram: NormHistogram | None, folder: Path) -> None:
    """Draw the scores, the table by class, and the norms; nothing without photos that have masks."""
    if histogram is not None:
        save(draw_norms(histogram.edges, histogram.counts, histogram.thresholds), folder / "norms.png")
    groups = score_bars(metrics)
    if groups:
        save(draw_scores(groups, study.scores["image_id"].nunique()), folder / "scores.png")
    table = class_table(study.scores) if len(study.scores) else pd.DataFrame()
    if 0 < len(table) <= MOST_CLASSES:
        save(draw_classes(table, LABELS), folder / "by_class.png")


def score_bars(metrics: Metrics) -> dict[str, Sequence[Bar]]:
    """Bars of every score that is known, methods with the best mean IoU first."""
    names = sorted(LABELS, key=lambda name: -_number(metrics.get(f"{name}.miou"), -1.0))
    groups: dict[str, Sequence[Bar]] = {}
    for score, title in SCORE_NAMES.items():
        bars = []
        for name in names:
            value = metrics.get(f"{name}.{score}")
            if isinstance(value, int | float):
                low, high = (_number(metrics.get(f"{name}.{score}_{end}"), value) for end in ("low", "high"))
                bars.append(Bar(LABELS[name], float(value), low, high, name in BASELINES))
        if bars:
            groups[title.format_map(metrics)] = bars
    return groups


def study_histogram(
    study: Study, classifier: Classifier, manifest: pd.DataFrame, image_ids: Sequence[str]
) -> NormHistogram:
    """Norms of the scored photos' patch tokens; of the chosen photos' where none was scored."""
    if study.found is not None:
        return norm_histogram(study.found.norms)
    rows = manifest.set_index("image_id").loc[list(image_ids)]
    seen = [look(classifier, classifier.pixel_values([open_photo(path)]), gradients=False) for path in rows["path"]]
    return norm_histogram(np.concatenate([patch_norms(one) for one in seen]))


def study_diagnoses(study: Study, histogram: NormHistogram) -> list[Diagnosis]:
    """Outliers of the last layer on every scored photo."""
    if study.found is None:
        return []
    heads = study.found.heads.mean(axis=1)
    grid = heads.shape[1:]
    return [
        diagnose(study.found.norms[index, -1], histogram.thresholds[-1], heads[index], _object_share(mask, grid))
        for index, mask in enumerate(study.tested.masks)
    ]


def _photo_figure(chosen: Chosen, part: Collected, histogram: NormHistogram | None, layer: int) -> Figure:
    heads = part.heads[0]
    count = len(chosen.seen.records)
    note = ""
    if histogram is not None:
        share = None if chosen.mask is None else _object_share(chosen.mask, heads.shape[1:])
        note = describe(diagnose(part.norms[0, -1], histogram.thresholds[-1], heads.mean(axis=0), share))
    name = f"class-token attention, layer {layer % count + 1} of {count}"
    return draw_photo(chosen.photo, heads.mean(axis=0), heads, chosen.guess, f"{name}; {note}" if note else name)


def describe(diagnosis: Diagnosis) -> str:
    """One line on a photo's outlier tokens."""
    count = int(diagnosis.outliers.sum())
    if not count:
        return "no high-norm outlier tokens"
    outside = "" if diagnosis.outside is None else f", {diagnosis.outside:.0%} outside the object"
    return (
        f"{count} high-norm outlier token{'s' if count > 1 else ''}{outside}, {diagnosis.left:.0%} in the left half, "
        f"drawing {diagnosis.attention:.0%} of the attention"
    )


def _comparison_row(chosen: Chosen, part: Collected, study: Study) -> Row:
    names = list(part.maps)
    texts = [""] * len(names)
    if chosen.mask is not None and usable(chosen.mask):
        small = resize_mask(chosen.mask, comparison_size(chosen.seen.layout.image_size))
        score = score_photo(np.stack([part.maps[name][0] for name in names]), small)
        texts = [_iou_text(score.iou[place], study.choice.thresholds.get(name)) for place, name in enumerate(names)]
    panels = [
        Panel(LABELS[name], part.maps[name][0], text)
        for name, text in zip(names, texts, strict=True)
        if name not in ("random", "uniform")
    ]
    return Row(chosen.photo, chosen.guess, chosen.mask, panels)


def _iou_text(iou: Array, threshold: int | None) -> str:
    return "" if threshold is None else f"{iou[threshold]:.2f}"


def _object_share(mask: Array, grid: tuple[int, ...]) -> Array:
    """Share of object pixels in each patch (rows, columns)."""
    rows, columns = grid
    area = Image.fromarray((mask == 1).astype(np.float32)).resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(area)


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise
