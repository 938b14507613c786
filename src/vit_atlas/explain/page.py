"""index.html: all explained photos on one page that works offline, with small copies of the pictures inside."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from vit_atlas.explain.classify import Classification, MapRequest, Prediction
from vit_atlas.explain.run import Explainer, Explanation
from vit_atlas.explain.sources import shown
from vit_atlas.figures.attention import overlay, small
from vit_atlas.figures.differences import change_overlay
from vit_atlas.io.files import atomic_file
from vit_atlas.pictures.changes import pair_up

NAME = "index.html"
MOST = 200
"""Photos on the page: about 60 KB each."""
SIDE = 360
"""Longest side of photo and maps in pixels."""
WORD_SIDE = 200
"""Longest side of the map of a word in pixels."""


@dataclass(frozen=True)
class Panel:
    """A picture on the page."""

    title: str
    alt: str
    source: str
    """A data: address."""
    width: int
    height: int
    probability: float | None = None
    """Of a word."""


@dataclass(frozen=True)
class WhyNot:
    """Another class beside the answer: a row of panels a method, the answer's map, the class's, and the difference."""

    label: str
    probability: float
    answer: str
    rows: list[list[Panel]]
    """Empty where the class is the answer."""


@dataclass(frozen=True)
class ByAnother:
    """What another model makes of the photo."""

    name: str
    readout: str
    """What its head reads, which maps follow."""
    predictions: Sequence[Prediction]
    panels: list[Panel]


@dataclass(frozen=True)
class Entry:
    """A photo on the page."""

    path: str
    predictions: Sequence[Prediction]
    panels: list[Panel]
    why_not: list[WhyNot]
    other: ByAnother | None
    caption: str | None
    captioner: str
    """What wrote the caption."""
    ended: bool
    words: list[Panel]
    files: list[str]
    """Names of the full pictures beside the page."""


@dataclass
class Page:
    """Gathers photos and writes them as one page.

    Args:
        folder: where the page goes, beside the pictures.
        explainer: what explained them, for the titles of maps.
        model: what people call the model.
    """

    folder: Path
    explainer: Explainer
    model: str
    entries: list[Entry] = field(default_factory=list)
    more: int = 0
    """Photos that had no room."""
    problems: list[str] = field(default_factory=list)

    def add(self, explanation: Explanation) -> None:
        """Put a photo on the page, while there is room."""
        if explanation.classification is None:
            return
        if len(self.entries) == MOST:
            self.more += 1
            return
        self.entries.append(make_entry(explanation, self.explainer))

    def write(self) -> Path:
        """Write the page atomically and return its path."""
        text = render(
            "page.html",
            entries=self.entries,
            more=self.more,
            problems=self.problems,
            model=self.model,
            readout=self.explainer.request.readout,
        )
        place = self.folder / NAME
        with atomic_file(place) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="replace")
        return place


def make_entry(explanation: Explanation, explainer: Explainer) -> Entry:
    """What the page says of one photo that was classified."""
    found, written, photo = explanation.classification, explanation.caption, explanation.photo
    if found is None or photo is None:
        raise ValueError("only what was explained can be shown")
    picture, tiny = small(photo, SIDE), small(photo, WORD_SIDE)
    name = shown(explanation.path.name)
    words = [
        _panel(word.text, f"where “{word.text}” looked", overlay(tiny, word.values), word.probability)
        for word in (written.words if written else ())
    ]
    by_another = None
    if explanation.compared is not None and explainer.other is not None:
        other, compared = explainer.other, explanation.compared
        panels = _maps(picture, f"{name}, by {other.name}", compared, other.request)
        by_another = ByAnother(other.name, other.request.readout, compared.predictions, panels)
    return Entry(
        path=shown(explanation.path),
        predictions=found.predictions,
        panels=[
            _panel("photo", f"the photo {name}", np.asarray(picture) / 255),
            *_maps(picture, name, found, explainer.request),
        ],
        why_not=_why_not(picture, found),
        other=by_another,
        caption=written.text if written else None,
        captioner=written.captioner if written else "",
        ended=written.ended if written else True,
        words=words,
        files=[file.name for file in explanation.files],
    )


def render(template: str, **values: Any) -> str:
    """Fill one of this folder's templates."""
    environment = Environment(
        loader=PackageLoader("vit_atlas.explain", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _maps(picture: Image.Image, name: str, found: Classification, request: MapRequest) -> list[Panel]:
    titles = {request.label(method): values for method, values in found.maps.items()}
    return [
        _panel(title, f"where the model looked in {name}: {title}", overlay(picture, values))
        for title, values in titles.items()
    ]


def _why_not(picture: Image.Image, found: Classification) -> list[WhyNot]:
    entries = []
    for contrast in found.contrasts:
        other, answer = contrast.asked.label, contrast.explained
        changes = pair_up(found.maps, contrast.maps) if other != answer else []
        rows = []
        for change in changes:
            looks = (
                (f"{change.label}, for {answer}", overlay(picture, change.old)),
                (f"{change.label}, for {other}", overlay(picture, change.new)),
                (f"{other} minus {answer}, {change.amount:.0%} moved", change_overlay(picture, change.change)),
            )
            rows.append([_panel(title, title, pixels) for title, pixels in looks])
        entries.append(WhyNot(other, contrast.asked.probability, answer, rows))
    return entries


def _panel(title: str, alt: str, pixels: np.ndarray, probability: float | None = None) -> Panel:
    """Pixels (height, width, 3) in 0..1 as an embedded picture."""
    image = Image.fromarray((pixels * 255).round().clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80, method=4)
    source = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Panel(title, alt, source, image.width, image.height, probability)
