"""The pictures of attn-viz: chosen photos with their maps, and the study's numbers drawn."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.attention.artefacts import Diagnosis, diagnose
from vit_atlas.attention.collect import PhotoMaps, maps_of_pass
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import FAITHFULNESS, METHODS, SCORES, class_specific, needing
from vit_atlas.attention.passes import Pass, run_pass
from vit_atlas.attention.scores import comparison_size, object_share, resize_mask, score_photo, usable
from vit_atlas.attention.study import Study
from vit_atlas.attention.summary import class_table, study_metrics
from vit_atlas.attention.token_colours import patch_tokens, token_colours
from vit_atlas.comparison.maps import SavedMaps
from vit_atlas.data.manifest import Manifest, Photo
from vit_atlas.estimates import Estimate
from vit_atlas.figures.attention import Guess, draw_photo, draw_tokens, small
from vit_atlas.figures.maps import (
    PANEL,
    Bar,
    Panel,
    Row,
    draw_classes,
    draw_comparison,
    draw_layers,
    draw_norms,
    draw_scores,
)
from vit_atlas.figures.style import save
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.names import safe_stems
from vit_atlas.models.classifier import Classifier
from vit_atlas.numbering import to_index
from vit_atlas.page_data.attention import AttentionPage, pack_pass
from vit_atlas.paths import ATTENTION_DATA, ATTENTION_PLOTS
from vit_atlas.pictures.contrast import Pairs, maps_before, require_same_grid, save_pairs
from vit_atlas.processes import is_first, shared
from vit_atlas.settings import AttentionSettings

Array = np.ndarray

SUMMARIES = ("comparison", "layers", "norms", "scores", "by_class", "tokens")
"""Pictures beside those of single photos."""

COMPARED = 8
"""Photos in the comparison of methods, and beside their tokens: more could not be read."""

MOST_CLASSES = 60
"""With more classes than this, the table by class is not drawn: nobody could read it."""


@dataclass(frozen=True)
class Explained:
    """A chosen photo and what its pass gave, as plain arrays: the pass itself is gone."""

    photo: Photo
    stem: str
    """File name of its pictures, without extension."""
    image: Image.Image
    """RGB, upright."""
    mask: Array | None
    """(height, width) uint8 at the photo's own size; None where it has none."""
    probabilities: Array
    """(classes,)."""
    guess: Guess
    """What the model says of it."""
    maps: PhotoMaps
    """Of this one photo."""
    pairs: Pairs
    """Maps of it for another class, and before fine-tuning."""
    rows: Array
    """(layers, heads, rows, columns) attention of what the head reads."""
    tokens: Array
    """(rows, columns, width) patch tokens of the last layer."""
    packed: Mapping[str, Array]
    """All its attention as the page needs it."""
    input_size: tuple[int, int]
    """Height and width of the model's input in pixels."""


def write_and_draw(
    classifier: Classifier, pretrained: Classifier, photos: Manifest, study: Study, settings: AttentionSettings
) -> None:
    """Write build/attention and plots/attention, each as a whole: one photo after the other, then the study.

    Several processes share the passes; the first draws and writes.

    Raises:
        AtlasError: a photo cannot be opened or is smaller than a patch; the models' grids differ; the disk is full.
    """
    require_same_grid(pretrained, classifier)
    # Closed whatever happens, so that a progress bar has ended its line before an error is told.
    explained = closing(explain_photos(classifier, pretrained, photos, study.choice.head, settings))
    if not is_first():
        with explained as passes:
            deque(passes, maxlen=0)
        return
    with atomic_folder(ATTENTION_PLOTS) as plots, atomic_folder(ATTENTION_DATA) as data, explained as passes:
        page = AttentionPage(classifier, to_index(settings.layer), data)
        kept, pairs, looks = [], [], []
        for one in draw_photos(passes, study, settings, plots):
            page.add(one.photo, one.stem, one.image, one.mask, one.probabilities, one.packed)
            kept.append((one.photo, one.maps.maps))
            pairs.append(one.pairs)
            looks.append((small(one.image, PANEL), one.guess, one.tokens))
        colours = token_colours(np.stack([tokens for _, _, tokens in looks]))
        drawn = [(image, guess, colour) for (image, guess, _), colour in zip(looks[:COMPARED], colours, strict=False)]
        save(draw_tokens(drawn), plots / "tokens.png")
        maps = saved_maps(kept)
        maps.save(data / "maps.npz")
        save_pairs(pairs, data)
        page.save(maps.methods, colours)
        study.save(data, len(photos))
        draw_study(study, study_metrics(*study.tables(len(photos)), settings), plots)


def explain_photos(
    classifier: Classifier, pretrained: Classifier, photos: Manifest, head: int | None, settings: AttentionSettings
) -> Generator[Explained, None, None]:
    """Yield the photos one after the other, each with what one pass over it gives; passes are not kept.

    Args:
        classifier: the model.
        pretrained: what it was before fine-tuning.
        photos: to explain.
        head: chosen head of ``best_head``; None leaves that map out.
        settings: methods, layer and seed.

    Raises:
        AtlasError: a photo cannot be opened, or is narrower or lower than one patch.
    """
    options = MapOptions(layer=to_index(settings.layer), head=head, seed=settings.seed)
    named = list(zip(photos, safe_stems(photos.image_ids, SUMMARIES), strict=True))

    def explained(some: Sequence[tuple[Photo, str]]) -> Explained:
        ((photo, stem),) = some
        image = photo.open()
        classifier.require_patch(image, photo.path, "leave it out of attention.photos")
        pixels = classifier.pixel_values([image])
        trace = run_pass(classifier, pixels, gradients=needing(settings.methods, "gradients"))
        probabilities = trace.logits[0].softmax(dim=-1).cpu().numpy()
        guess = int(probabilities.argmax())
        maps = maps_of_pass(trace, [photo.image_id], settings.methods, options)
        before = maps_before(pretrained, image, photo.image_id, settings.methods, options)
        return Explained(
            photo=photo,
            stem=stem,
            image=image,
            mask=photo.open_mask() if photo.mask else None,
            probabilities=probabilities,
            guess=Guess(
                name=Path(photo.path).name,
                truth=photo.class_name,
                guess=classifier.id2label[guess],
                confidence=float(probabilities[guess]),
            ),
            maps=maps,
            pairs=_pairs(trace, photo, maps, before, options),
            rows=np.concatenate([trace.block_rows(n).detach().cpu().numpy() for n in range(len(trace.records))]),
            tokens=patch_tokens(trace)[0],
            packed=pack_pass(trace, to_index(settings.layer)),
            input_size=classifier.image_size,
        )

    yield from shared(explained, named, 1, "Drawing attention")


def _pairs(trace: Pass, photo: Photo, maps: PhotoMaps, before: Mapping[str, Array], options: MapOptions) -> Pairs:
    """What the maps of the guess are compared with: those of the true class where it is wrong, and those before."""
    wrong = int(maps.predictions[0]) != photo.label
    names = class_specific(maps.maps) if wrong else []
    true = trace.explaining(torch.full_like(trace.targets, photo.label)) if names else trace
    return Pairs(
        image_id=photo.image_id,
        guessed={name: maps.maps[name][0] for name in names},
        true={name: values[0] for name, values in make_maps(true, [photo.image_id], names, options).items()},
        before=before,
        after={name: maps.maps[name][0] for name in before},
    )


def draw_photos(
    photos: Iterator[Explained], study: Study, settings: AttentionSettings, folder: Path
) -> Iterator[Explained]:
    """Draw every photo as it passes: its heads, and after the last one all layers of the first and the comparison.

    Yields:
        The photos, for whoever keeps something else of them.
    """
    rows: list[Row] = []
    for number, one in enumerate(photos):
        save(_photo_figure(one, study, to_index(settings.layer)), folder / f"{one.stem}.png")
        one.pairs.draw(one.image, one.guess, one.stem, folder)
        if not number:
            save(draw_layers(one.image, one.rows, one.guess, study.readout), folder / "layers.png")
        if number < COMPARED:
            rows.append(_comparison_row(one, study))
        yield one
    save(draw_comparison(rows, "IoU with the mask"), folder / "comparison.png")


def saved_maps(photos: Sequence[tuple[Photo, Mapping[str, Array]]]) -> SavedMaps:
    """Put the maps of the drawn photos together, as build/attention/maps.npz keeps them."""
    methods = list(photos[0][1])
    return SavedMaps(
        image_ids=[photo.image_id for photo, _ in photos],
        paths=[photo.path for photo, _ in photos],
        methods=methods,
        maps=np.stack([np.stack([maps[name][0] for name in methods]) for _, maps in photos]),
    )


def draw_study(study: Study, metrics: Mapping[str, Any], folder: Path) -> None:
    """Draw the norms, and where photos were scored the scores and the table by class."""
    norms = study.norms
    save(draw_norms(norms.edges, norms.counts, norms.thresholds), folder / "norms.png")
    groups = score_bars(metrics)
    if groups:
        save(draw_scores(groups, study.scores["image_id"].nunique()), folder / "scores.png")
    table = class_table(study.scores) if len(study.scores) else pd.DataFrame()
    # Without a photo that could choose thresholds no method has an IoU, and the table only the number of photos.
    if 0 < len(table) <= MOST_CLASSES and len(table.columns) > 1:
        labels = {name: method.label for name, method in METHODS.items()}
        save(draw_classes(table, labels), folder / "by_class.png")


def score_bars(metrics: Mapping[str, Any]) -> dict[str, Sequence[Bar]]:
    """Bars of every score that is known, methods with the best mean IoU first."""
    names = sorted(METHODS, key=lambda name: -_or(metrics.get(f"{name}.miou"), -1.0))
    titles = SCORES | {"faithfulness": f"{FAITHFULNESS}, {metrics.get('photos_faithfulness')} photos"}
    groups: dict[str, Sequence[Bar]] = {}
    for score, title in titles.items():
        estimates = [(METHODS[name], Estimate.read(metrics, f"{name}.{score}")) for name in names]
        bars = [
            Bar(method.label, one.value, _or(one.low, one.value), _or(one.high, one.value), method.baseline)
            for method, one in estimates
            if one is not None and one.value is not None
        ]
        if bars:
            groups[title] = bars
    return groups


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


def _photo_figure(one: Explained, study: Study, layer: int) -> Figure:
    heads = one.maps.heads[0]
    share = None if one.mask is None else object_share(one.mask, heads.shape[1:])
    note = describe(diagnose(one.maps.norms[0, -1], study.norms.thresholds[-1], heads.mean(axis=0), share))
    count = len(one.rows)
    title = f"attention ({study.readout}), layer {layer % count + 1} of {count}; {note}"
    return draw_photo(one.image, heads.mean(axis=0), heads, one.guess, title)


def _comparison_row(one: Explained, study: Study) -> Row:
    maps = one.maps.maps
    texts = [""] * len(maps)
    if one.mask is not None and usable(one.mask):
        mask = resize_mask(one.mask, comparison_size(one.input_size))
        score = score_photo(np.concatenate(list(maps.values())), mask)
        thresholds = [study.choice.thresholds.get(name) for name in maps]
        texts = ["" if cut is None else f"{score.iou[place, cut]:.2f}" for place, cut in enumerate(thresholds)]
    panels = [
        Panel(METHODS[name].label, values[0], text)
        for (name, values), text in zip(maps.items(), texts, strict=True)
        if name not in ("random", "uniform")
    ]
    return Row(small(one.image, PANEL), one.guess, one.mask, panels)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
