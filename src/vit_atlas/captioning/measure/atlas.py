"""Captions of the photos in data/captioning: measured against people's and against masks, and drawn word by word."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from vit_atlas.captioning.dataset import (
    CaptionedPhoto,
    NounMask,
    has_captions,
    read_captions,
    read_objects,
    read_photos,
)
from vit_atlas.captioning.measure.intervals import difference_metrics
from vit_atlas.captioning.measure.texts import text_scores
from vit_atlas.captioning.measure.word_maps import Tally, View, look_metrics, noun_masks, tally_caption
from vit_atlas.captioning.model.captioner import Captioner, SearchOptions
from vit_atlas.captioning.model.vocabulary import words_of
from vit_atlas.captioning.model.words import Caption
from vit_atlas.captioning.opening import open_captioner
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.figures.captions import WordPanel, draw_strip
from vit_atlas.figures.style import save
from vit_atlas.io.files import atomic_file, atomic_folder, write_json
from vit_atlas.io.names import safe_stems
from vit_atlas.page_data.captions import save_words
from vit_atlas.paths import CAPTION_DATA, CAPTION_METRICS, CAPTION_PLOTS, CAPTIONING_DATA, CAPTIONS
from vit_atlas.settings import CaptionsSettings

BATCH = 16


@dataclass(frozen=True)
class Subject:
    """A photo to caption."""

    name: str
    path: Path
    captions: tuple[str, ...] = ()
    """What people wrote; empty where nobody did."""
    things: tuple[NounMask, ...] = ()


@dataclass
class Findings:
    """What the captions of all subjects said."""

    tally: Tally = field(default_factory=Tally)
    tallies: list[Tally] = field(default_factory=list)
    """The same, one a photo."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One a photo: the table that is written beside the metrics."""
    kept: dict[str, Caption] = field(default_factory=dict)
    """Captions with their maps, of photos to draw."""
    layers: int = 0
    """Decoder layers that the maps are of."""


def make_caption_atlas(settings: CaptionsSettings) -> None:
    """Caption the test photos, or all where there are no captions; write metrics, table and strips.

    Raises:
        AtlasError: inputs are missing or wrong, or a photo asked for does not exist.
    """
    tested, others, unseen = _subjects()
    chosen = _choose(settings, tested, others)
    subjects = [*tested, *(subject for subject in chosen if subject not in tested)]
    view = View(settings.layer, settings.head)
    findings = describe(open_captioner(), subjects, {subject.name for subject in chosen}, settings, view)
    metrics = caption_metrics(findings, tested, unseen)
    stems = safe_stems([subject.name for subject in chosen])
    with atomic_folder(CAPTION_PLOTS) as folder:
        for subject, stem in zip(chosen, stems, strict=True):
            save(strip(subject, findings.kept[subject.name], view), folder / f"{stem}.png")
    with atomic_folder(CAPTION_DATA) as folder:
        save_words(folder, chosen, stems, findings.kept, view)
    with atomic_file(CAPTIONS) as temporary:
        pd.DataFrame(findings.rows).to_csv(temporary, index=False, lineterminator="\n")
    write_json(CAPTION_METRICS, metrics)


def describe(
    captioner: Captioner, subjects: Sequence[Subject], keep: set[str], settings: CaptionsSettings, view: View
) -> Findings:
    """Caption every subject and gather what the captions say; maps are kept of the photos named in ``keep`` only."""
    options = SearchOptions(settings.max_length, settings.beams, settings.length_penalty)
    nouns = {thing.noun for subject in subjects for thing in subject.things}
    findings = Findings()
    for subject, photo, caption in _captions(captioner, subjects, options):
        masks = noun_masks(subject.things, (photo.height, photo.width), subject.path)
        if caption.words:
            _check_view(view, caption)
            findings.layers = len(caption.words[0].maps)
        own = Tally()
        tally_caption(own, caption, masks, nouns, view)
        findings.tally.take(own)
        findings.tallies.append(own)
        findings.rows.append(_row(subject, caption))
        if subject.name in keep:
            findings.kept[subject.name] = caption
    return findings


def caption_metrics(findings: Findings, tested: Sequence[Subject], unseen: float | None) -> dict[str, Any]:
    """The numbers of metrics/caption.json.

    Args:
        findings: of all captions.
        tested: the subjects with captions that people wrote, which come first in ``findings``.
        unseen: share of the words in these captions that no training caption has.
    """
    texts = [row["caption"] for row in findings.rows[: len(tested)]]
    references = [subject.captions for subject in tested]
    lengths = [len(row["caption"].split()) for row in findings.rows]
    names = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider", "exact_match")
    scores: dict[str, float | None] = dict.fromkeys(names)
    if tested:
        scores.update(text_scores(texts, references))
    return {
        "photos": len(findings.rows),
        "photos_with_captions": len(tested),
        **scores,
        "unseen_words": unseen,
        "words_per_caption": float(np.mean(lengths)),
        "cut_captions": float(np.mean([not row["ended"] for row in findings.rows])),
        **look_metrics(findings.tally, findings.layers),
        **difference_metrics(findings.tallies),
    }


def strip(subject: Subject, caption: Caption, view: View) -> Any:
    """The figure of one photo."""
    panels = [WordPanel(word.text, math.exp(word.log_probability), view.of(word)) for word in caption.words]
    layer = "mean over layers" if view.layer is None else f"layer {view.layer}"
    head = "mean over heads" if view.head is None else f"head {view.head}"
    notes = [f"{subject.name}: cross-attention, {layer}, {head}; p is the word's probability after the words before it"]
    if not caption.ended:
        notes.append("cut: the caption had not ended at captions.max_length")
    if subject.captions:
        notes.append(f"caption in the data: {subject.captions[0]}")
    return draw_strip(open_photo(subject.path), panels, caption.text, notes)


def _captions(
    captioner: Captioner, subjects: Sequence[Subject], options: SearchOptions
) -> Iterator[tuple[Subject, Image.Image, Caption]]:
    with tqdm(total=len(subjects), desc="captions", unit="photo") as bar:
        for start in range(0, len(subjects), BATCH):
            part = subjects[start : start + BATCH]
            photos = [_named(open_photo(subject.path), subject.path) for subject in part]
            yield from zip(part, photos, captioner.caption(photos, options), strict=True)
            bar.update(len(part))


def _named(photo: Image.Image, path: Path) -> Image.Image:
    """Remember the file's name, for messages about the photo."""
    photo.filename = str(path)  # type: ignore[attr-defined]
    return photo


def _row(subject: Subject, caption: Caption) -> dict[str, Any]:
    return {
        "image": subject.name,
        "caption": caption.text,
        "log_probability": round(sum(word.log_probability for word in caption.words), 6),
        "ended": caption.ended,
        "reference": subject.captions[0] if subject.captions else "",
    }


def _subjects() -> tuple[list[Subject], list[Subject], float | None]:
    """Test photos with captions, photos without any, and the share of the former's words that training never shows."""
    photos = read_captions() if has_captions() else []
    objects = read_objects()
    tested = [photo for photo in photos if photo.split == "test"]
    if photos and not tested:
        raise AtlasError(
            f"{CAPTIONING_DATA / 'captions.csv'} has no photo in the split `test`, so nothing can be measured"
        )
    known = {photo.path for photo in photos}
    images = CAPTIONING_DATA / "images"
    others = [Subject(path.relative_to(images).as_posix(), path) for path in read_photos() if path not in known]
    with_captions = [
        Subject(photo.name, photo.path, photo.captions, tuple(objects.get(photo.name, ()))) for photo in tested
    ]
    return with_captions, others, _unseen_words(photos) if tested else None


def _unseen_words(photos: Sequence[CaptionedPhoto]) -> float:
    words: dict[str, list[str]] = {"train": [], "test": [], "val": []}
    for photo in photos:
        for caption in photo.captions:
            words[photo.split] += words_of(caption)
    seen = set(words["train"])
    return float(np.mean([word not in seen for word in words["test"]]))


def _choose(settings: CaptionsSettings, tested: Sequence[Subject], others: Sequence[Subject]) -> list[Subject]:
    """The photos to draw: those named, or some spread over the test photos and as many without captions."""
    if settings.photos == "auto":
        return [*_spread(tested, settings.count), *_spread(others, settings.count)]
    known = {subject.name: subject for subject in [*others, *tested]}
    missing = [name for name in settings.photos if name not in known]
    if missing:
        raise AtlasError(
            f"captions.photos names {missing[0]}, which is neither a test photo nor one without captions in "
            f"{CAPTIONING_DATA / 'images'}"
        )
    return [known[name] for name in settings.photos]


def _spread(subjects: Sequence[Subject], count: int) -> list[Subject]:
    taken = min(count, len(subjects))
    return [subjects[index * len(subjects) // taken] for index in range(taken)]


def _check_view(view: View, caption: Caption) -> None:
    layers, heads = caption.words[0].maps.shape[:2]
    if view.layer is not None and not -layers <= view.layer < layers:
        raise AtlasError(
            f"captions.layer is {view.layer}, and the captioner's decoder has {layers} layers: use 0 to {layers - 1}"
        )
    if view.head is not None and view.head >= heads:
        raise AtlasError(
            f"captions.head is {view.head}, and the captioner's layers have {heads} heads: use 0 to {heads - 1}"
        )
