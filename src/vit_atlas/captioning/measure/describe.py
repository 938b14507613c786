"""Captions of the photos in data/captioning, measured against people's and against masks, word by word."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from vit_atlas.captioning.dataset import (
    CaptionedPhoto,
    Subject,
    has_captions,
    read_captions,
    read_objects,
    read_photos,
)
from vit_atlas.captioning.measure.texts import text_scores
from vit_atlas.captioning.measure.word_maps import View, noun_masks, word_scores
from vit_atlas.captioning.model.captioner import Captioner, SearchOptions
from vit_atlas.captioning.model.vocabulary import words_of
from vit_atlas.captioning.model.words import Caption
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError, printable
from vit_atlas.paths import CAPTIONING_DATA
from vit_atlas.settings import CaptionsSettings

BATCH = 16

TEXTS = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider", "exact_match")
"""Scores of the captions' texts."""


@dataclass(frozen=True)
class Captions:
    """The captions of all subjects, and what they say."""

    table: pd.DataFrame
    """One row a photo: image, caption, log_probability, ended, reference."""
    words: pd.DataFrame
    """One row a photo and score of its words: image, score, sum, count."""
    texts: dict[str, Any]
    """Scores of the texts, the share of unseen words, and how many photos have captions of people."""
    drawn: list[tuple[Subject, Caption]]
    """Captions with their maps, of the photos to draw."""


def describe(captioner: Captioner, settings: CaptionsSettings) -> Captions:
    """Caption the test photos, or all where there are no captions; maps are kept of the photos to draw only.

    Raises:
        AtlasError: inputs are missing or wrong, or a photo asked for does not exist.
    """
    tested, others, unseen = _subjects()
    chosen = _choose(settings, tested, others)
    subjects = [*tested, *(subject for subject in chosen if subject not in tested)]
    view = View(settings.layer, settings.head)
    options = SearchOptions(settings.max_length, settings.beams, settings.length_penalty)
    nouns = {thing.noun for subject in subjects for thing in subject.things}
    drawn = {subject.name for subject in chosen}
    rows: list[dict[str, Any]] = []
    words: list[tuple[str, str, float, int]] = []
    kept: dict[str, Caption] = {}
    for subject, photo, caption in _captions(captioner, subjects, options):
        masks, problems = noun_masks(subject.things, (photo.height, photo.width))
        for problem in problems:
            tqdm.write(f"warning: {printable(problem)}", file=sys.stderr)
        if caption.words:
            view.require(caption, "the captioner")
        scores = word_scores(caption, masks, nouns, view)
        words += [(subject.name, name, float(np.sum(values)), len(values)) for name, values in scores.items()]
        rows.append(_row(subject, caption))
        if subject.name in drawn:
            kept[subject.name] = caption
    table = pd.DataFrame(rows)
    texts: dict[str, Any] = {"photos_with_captions": len(tested), "unseen_words": unseen, **dict.fromkeys(TEXTS)}
    if tested:
        written = table["caption"].tolist()[: len(tested)]
        texts |= text_scores(written, [subject.captions for subject in tested])
    frame = pd.DataFrame(words, columns=["image", "score", "sum", "count"])
    return Captions(table, frame, texts, [(subject, kept[subject.name]) for subject in chosen])


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
