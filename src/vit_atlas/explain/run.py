"""Explaining photos one after the other: what fails on one of them stops none of the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.attention.maps import MapOptions
from vit_atlas.errors import AtlasError
from vit_atlas.explain.captions import ExplainedCaption, Writer
from vit_atlas.explain.classify import Classification, Contrast, MapRequest, classify, read_photo
from vit_atlas.explain.figure import draw_explanation, short_name
from vit_atlas.explain.sources import output_stems, shown
from vit_atlas.figures.captions import draw_strip
from vit_atlas.figures.differences import draw_difference
from vit_atlas.figures.style import save
from vit_atlas.models.classifier import Classifier
from vit_atlas.pictures.changes import pair_up

DIGITS = 6
"""Significant digits of numbers in JSON."""


@dataclass
class Explanation:
    """One photo explained, or why it could not be."""

    path: Path
    photo: Image.Image | None = None
    classification: Classification | None = None
    """None where the photo could not be explained."""
    caption: ExplainedCaption | None = None
    """None where no caption was asked for, or none could be written."""
    files: list[Path] = field(default_factory=list)
    """Pictures that were written."""
    problem: str | None = None
    """A sentence."""
    compared: Classification | None = None
    """What another model makes of it, where one was asked for."""


@dataclass(frozen=True)
class Other:
    """A second model, whose answer stands beside the first one's."""

    name: str
    classifier: Classifier
    request: MapRequest


@dataclass
class Explainer:
    """All that explaining photos needs.

    Args:
        classifier: the model.
        request: which maps.
        writer: writes captions; None leaves them out.
        out: folder of the pictures; None draws none.
        other: another model to ask too.
    """

    classifier: Classifier
    request: MapRequest
    writer: Writer | None
    out: Path | None
    other: Other | None = None

    def explain(self, paths: Sequence[Path]) -> Iterator[Explanation]:
        """Explain photos, each as soon as the one before it is done with."""
        for path, stem in zip(paths, output_stems(paths), strict=True):
            yield self.explain_one(path, stem)

    def explain_one(self, path: Path, stem: str, content: bytes | None = None) -> Explanation:
        """Explain one photo.

        Args:
            path: where it is, or with ``content`` its name.
            stem: with which the names of its pictures begin.
            content: the file's bytes, where it is no file of this machine.
        """
        explanation = Explanation(path)
        try:
            self._classify(explanation, stem, content)
            self._compare(explanation, stem)
            self._caption(explanation, stem)
        except AtlasError as error:
            explanation.problem = str(error)
        return explanation

    def _classify(self, explanation: Explanation, stem: str, content: bytes | None) -> None:
        photo = read_photo(explanation.path, content)
        request = self.request
        options = MapOptions(layer=request.layer, head=request.head)
        found = classify(
            self.classifier, photo, shown(explanation.path), request.methods, options, classes=request.classes
        )
        if self.out is not None:
            maps = {request.label(method): values for method, values in found.maps.items()}
            name = shown(explanation.path.name)
            figure = draw_explanation(photo, maps, found.predictions, name, request.readout)
            explanation.files.append(_new_picture(self.out, f"{stem}-maps.png", explanation.path))
            save(figure, explanation.files[-1])
            for label, contrast in zip(request.classes, found.contrasts, strict=True):
                if contrast.asked.label != contrast.explained:
                    place = _new_picture(self.out, f"{stem}-class-{label}.png", explanation.path)
                    save(_contrast_figure(photo, shown(explanation.path.name), found, contrast), place)
                    explanation.files.append(place)
        explanation.photo, explanation.classification = photo, found

    def _compare(self, explanation: Explanation, stem: str) -> None:
        photo, other = explanation.photo, self.other
        if photo is None or other is None:
            return
        request, name = other.request, shown(explanation.path)
        options = MapOptions(layer=request.layer, head=request.head)
        explanation.compared = found = classify(other.classifier, photo, name, request.methods, options)
        if self.out is not None:
            maps = {request.label(method): values for method, values in found.maps.items()}
            title = f"{shown(explanation.path.name)}, by {other.name}"
            figure = draw_explanation(photo, maps, found.predictions, title, request.readout)
            explanation.files.append(_new_picture(self.out, f"{stem}-compared.png", explanation.path))
            save(figure, explanation.files[-1])

    def _caption(self, explanation: Explanation, stem: str) -> None:
        """Caption the photo. The captioner is opened after the first classification is out; one that cannot be opened
        is not tried again."""
        if self.writer is None or explanation.photo is None:
            return
        try:
            self.writer.open()
        except AtlasError as error:
            self.writer = None
            raise AtlasError(f"captions are left out: {error}") from None
        written = self.writer.write(explanation.photo)
        explanation.caption = written
        if self.out is not None and written.words:
            notes = [f"{shown(explanation.path.name)}, {written.captioner}: {written.note}"]
            notes += [] if written.ended else ["cut: the caption had not ended at captions.max_length"]
            figure = draw_strip(explanation.photo, written.words, written.text, notes)
            explanation.files.append(_new_picture(self.out, f"{stem}-caption.png", explanation.path))
            save(figure, explanation.files[-1])


def as_record(explanation: Explanation, explainer: Explainer) -> dict[str, Any]:
    """The explanation of one photo as JSON holds it; every map sums to 1, and a difference of 1 is an even map."""
    found, written = explanation.classification, explanation.caption
    if found is None:
        raise ValueError("only what was explained can be written down")
    content = {"path": str(explanation.path), **_answer(found, explainer.request), "caption": None}
    if found.contrasts:
        content["classes"] = [
            {
                "label": contrast.asked.label,
                "probability": _short(contrast.asked.probability),
                "maps": {method: _grid(values) for method, values in contrast.maps.items()},
                "differences": {method: _rows(values) for method, values in contrast.differences.items()},
            }
            for contrast in found.contrasts
        ]
    if written is not None:
        words = [
            {"text": word.text, "probability": _short(word.probability), "map": _grid(word.values)}
            for word in written.words
        ]
        content["caption"] = {
            "text": written.text,
            "ended": written.ended,
            "captioner": written.captioner,
            "words": words,
        }
    if explanation.compared is not None and explainer.other is not None:
        other = explainer.other
        content["compared_with"] = {"model": other.name, **_answer(explanation.compared, other.request)}
    return content


def _answer(found: Classification, request: MapRequest) -> dict[str, Any]:
    return {
        "predictions": [{"label": one.label, "probability": _short(one.probability)} for one in found.predictions],
        "readout": request.readout,
        "layer": request.layer + 1,
        "grid": list(next(iter(found.maps.values())).shape),
        "maps": {method: _grid(values) for method, values in found.maps.items()},
    }


def _new_picture(out: Path, name: str, photo: Path) -> Path:
    """Where a picture goes.

    Raises:
        AtlasError: the photo itself lies there.
    """
    place = out / name
    if place.exists() and place.samefile(photo):
        raise AtlasError(f"{shown(photo)} would be overwritten by its own picture: give another folder with --out")
    return place


def _grid(values: np.ndarray) -> list[list[float]]:
    total = float(values.sum())
    shares = values / total if total > 0 else values
    return _rows(shares)


def _rows(values: np.ndarray) -> list[list[float]]:
    return [[_short(float(value)) for value in row] for row in values]


def _contrast_figure(photo: Image.Image, name: str, found: Classification, contrast: Contrast) -> Figure:
    """The explained class's maps, the other class's, and their difference."""
    asked = contrast.asked
    title = f"{short_name(name, 40)}: why not {short_name(asked.label, 30)} ({asked.probability:.1%})?"
    names = short_name(contrast.explained, 20), short_name(asked.label, 20), "second minus first"
    return draw_difference(photo, title, pair_up(found.maps, contrast.maps), names)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
