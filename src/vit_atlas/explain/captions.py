"""A caption of one photo, written by the captioner that is opened when the first is asked for."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from vit_atlas.captioning.measure.word_maps import View
from vit_atlas.captioning.model.captioner import Captioner, SearchOptions
from vit_atlas.captioning.opening import captions_are_off, name_captioner, open_captioner
from vit_atlas.figures.captions import WordPanel
from vit_atlas.paths import CAPTIONER
from vit_atlas.settings import settings_outside_a_project


@dataclass(frozen=True)
class ExplainedCaption:
    """A caption, and for every word how likely it was and where the captioner looked."""

    text: str
    ended: bool
    """False: cut at the longest length allowed."""
    words: tuple[WordPanel, ...]
    note: str
    """Which maps these are."""
    captioner: str
    """What wrote it, with the data that it was trained on."""


class Writer:
    """Writes captions as caption-attn does: with the settings of params.yaml where there is one.

    Args:
        folder: what caption-train wrote, or the like; None is build/captioner.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder or CAPTIONER
        self._settings = settings_outside_a_project().captions
        self._own = folder is None

    @property
    def name(self) -> str:
        """What people call the captioner, with the data that it was trained on."""
        return name_captioner(self.folder)

    def open(self) -> None:
        """Open the captioner, once.

        Raises:
            AtlasError: it is unavailable.
        """
        self._captioner  # noqa: B018 (reading it opens it)

    def write(self, photo: Image.Image) -> ExplainedCaption:
        """Caption one photo.

        Raises:
            AtlasError: the captioner cannot be opened, or the photo is too small.
        """
        settings = self._settings
        options = SearchOptions(settings.max_length, settings.beams, settings.length_penalty)
        (caption,) = self._captioner.caption([photo], options)
        view = View(settings.layer, settings.head) if self._own else View(None, None)
        if caption.words:
            view.require(caption, str(self.folder))
        words = tuple(WordPanel(word.text, math.exp(word.log_probability), view.of(word)) for word in caption.words)
        note = f"cross-attention, {view}; p is the word's probability after the words before it"
        return ExplainedCaption(caption.text, caption.ended, words, note, self.name)

    @cached_property
    def _captioner(self) -> Captioner:
        return open_captioner(self.folder)


def has_captioner(wanted: Path | None, captions: bool) -> bool:
    """Whether there is a captioner to use: one that is asked for must be, build/captioner may be, and may hold none."""
    if not captions or wanted is not None:
        return captions
    return CAPTIONER.is_dir() and not captions_are_off()
