"""Captions of the photos in data/captioning, measured against people's and against masks, word by word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from vit_atlas.captioning.dataset import CaptionDataset, CaptionedPhoto
from vit_atlas.captioning.measure.texts import TEXTS, text_scores
from vit_atlas.captioning.measure.word_maps import View, noun_masks, word_scores
from vit_atlas.captioning.model.captioner import Captioner, SearchOptions
from vit_atlas.captioning.model.vocabulary import words_of
from vit_atlas.captioning.model.words import Caption
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.paths import CAPTIONING_DATA
from vit_atlas.processes import shared
from vit_atlas.settings import CaptionsSettings

BATCH = 16


@dataclass(frozen=True)
class Captions:
    """The captions of photos, and what they say."""

    table: pd.DataFrame
    """One row a photo: image, caption, log_probability, ended, reference."""
    words: pd.DataFrame
    """One row a photo and score of its words: image, score, sum, count."""
    facts: dict[str, Any]
    """Scores of the texts, the share of unseen words, how many photos have captions of people, and ``warnings``."""
    left_out: pd.DataFrame
    """One row a photo or mask that is not used: file, reason."""
    view: View
    """Which maps were measured, and are drawn."""
    drawn: list[tuple[CaptionedPhoto, Caption]]
    """Captions with their maps, of the photos to draw."""


def describe(captioner: Captioner, dataset: CaptionDataset, settings: CaptionsSettings) -> Captions:
    """Caption the test photos, those that nobody captioned but whose things are known, and those to draw.

    Maps are kept of the photos to draw only.

    Raises:
        AtlasError: nobody captioned a test photo though others have captions, a photo asked for does not exist, or a
            setting does not fit the captioner.
    """
    others = [photo for photo in dataset.photos if not photo.captions]
    tested = dataset.of_split("test") if len(others) < len(dataset.photos) else []
    chosen = _choose(settings, tested, others)
    known = [*tested, *(photo for photo in others if photo.things)]
    photos = [*known, *(photo for photo in chosen if photo not in known)]
    view = View(settings.layer, settings.head)
    options = SearchOptions(settings.max_length, settings.beams, settings.length_penalty)
    nouns = {thing.noun for photo in photos for thing in photo.things}
    drawn = {photo.name for photo in chosen}
    rows: list[dict[str, Any]] = []
    words: list[tuple[str, str, float, int]] = []
    kept: dict[str, Caption] = {}
    problems: list[tuple[str, str]] = []

    def described(some: Sequence[CaptionedPhoto]) -> list[tuple[Caption, list[str], dict[str, list[float]]]]:
        return list(_described(captioner, some, options, nouns, view))

    found = chain.from_iterable(shared(described, photos, BATCH, "captions"))
    for photo, (caption, unusable, scores) in zip(photos, found, strict=True):
        problems += [(photo.name, problem) for problem in unusable]
        words += [(photo.name, name, float(np.sum(values)), len(values)) for name, values in scores.items()]
        rows.append(_row(photo, caption))
        if photo.name in drawn:
            kept[photo.name] = caption
    table = pd.DataFrame(rows)
    facts: dict[str, Any] = {"photos_with_captions": len(tested), **dict.fromkeys(TEXTS), "unseen_words": None}
    if tested:
        written = table["caption"].tolist()[: len(tested)]
        facts |= text_scores(written, [photo.captions for photo in tested])
        facts["unseen_words"] = _unseen_words(dataset)
    facts["warnings"] = [*dataset.warnings]
    if problems:
        facts["warnings"].append(f"{len(problems)} masks are not used, the first of {': '.join(problems[0])}")
    left_out = [*((item.file, item.reason) for item in dataset.left_out), *problems]
    return Captions(
        table,
        pd.DataFrame(words, columns=["image", "score", "sum", "count"]),
        facts,
        pd.DataFrame(left_out, columns=["file", "reason"]),
        view,
        [(photo, kept[photo.name]) for photo in chosen],
    )


def _described(
    captioner: Captioner, photos: Sequence[CaptionedPhoto], options: SearchOptions, nouns: set[str], view: View
) -> Iterator[tuple[Caption, list[str], dict[str, list[float]]]]:
    """The photos' captions, which masks of theirs are not usable, and scores of the words."""
    images = [_named(open_photo(photo.path), photo.path) for photo in photos]
    for photo, image, caption in zip(photos, images, captioner.caption(images, options), strict=True):
        masks, unusable = noun_masks(photo.things, (image.height, image.width))
        if caption.words:
            view.require(caption, "the captioner")
        yield caption, unusable, word_scores(caption, masks, nouns, view)


def _named(photo: Image.Image, path: Path) -> Image.Image:
    """Remember the file's name, for messages about the photo."""
    photo.filename = str(path)  # type: ignore[attr-defined]
    return photo


def _row(photo: CaptionedPhoto, caption: Caption) -> dict[str, Any]:
    return {
        "image": photo.name,
        "caption": caption.text,
        "log_probability": round(sum(word.log_probability for word in caption.words), 6),
        "ended": caption.ended,
        "reference": photo.captions[0] if photo.captions else "",
    }


def _unseen_words(dataset: CaptionDataset) -> float:
    """The share of the test captions' words that no training caption has."""
    words: dict[str, list[str]] = {"train": [], "test": [], "val": [], "": []}
    for photo in dataset.photos:
        words[photo.split] += [word for caption in photo.captions for word in words_of(caption)]
    seen = set(words["train"])
    return float(np.mean([word not in seen for word in words["test"]]))


def _choose(
    settings: CaptionsSettings, tested: Sequence[CaptionedPhoto], others: Sequence[CaptionedPhoto]
) -> list[CaptionedPhoto]:
    """The photos to draw: those named, or some spread over the test photos and as many without captions."""
    if settings.photos == "auto":
        return [*_spread(tested, settings.count), *_spread(others, settings.count)]
    known = {photo.name: photo for photo in [*others, *tested]}
    missing = [name for name in settings.photos if name not in known]
    if missing:
        raise AtlasError(
            f"captions.photos names {missing[0]}, which is neither a usable test photo nor one "
            f"without captions in {CAPTIONING_DATA / 'images'}"
        )
    return [known[name] for name in settings.photos]


def _spread(photos: Sequence[CaptionedPhoto], count: int) -> list[CaptionedPhoto]:
    taken = min(count, len(photos))
    return [photos[index * len(photos) // taken] for index in range(taken)]
