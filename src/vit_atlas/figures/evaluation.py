"""Figures about a classifier's answers: worst mistakes, confusion, reliability, curves of training."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.style import BAD, GOOD, MUTED, PRIMARY, SECONDARY, hide_axes, new_figure, new_grid

_PHOTO_SIDE = 360
"""Photos are drawn from copies with this longest side in pixels: no more fits into a panel."""


@dataclass(frozen=True)
class Mistake:
    """A photo, its class, the wrong guess, and the guess's probability."""

    photo: Image.Image
    class_name: str
    guess: str
    confidence: float


def draw_mistakes(mistakes: Sequence[Mistake], photos: int) -> Figure:
    """Draw each photo of ``mistakes`` with its true class, the wrong guess and the guess's confidence.

    Args:
        mistakes: the worst first.
        photos: how many test photos there were; said when there is no mistake to show.
    """
    if not mistakes:
        figure = new_figure(7.2, 1.6)
        axes = figure.subplots()
        hide_axes(axes)
        axes.text(0.5, 0.5, f"No mistakes on {photos} test photos", ha="center", va="center", fontsize=16, color=GOOD)
        return figure
    columns = min(4, len(mistakes))
    rows = -(-len(mistakes) // columns)
    figure, grid = new_grid(rows, columns, panel=(2.9, 3.2))
    figure.suptitle("The most confident mistakes on the test photos", fontsize=14)
    panels = [axes for row in grid for axes in row]
    for axes, mistake in zip(panels, mistakes, strict=False):
        _draw_mistake(axes, mistake)
    for axes in panels[len(mistakes) :]:
        axes.set_visible(False)
    return figure


def _draw_mistake(axes: Axes, mistake: Mistake) -> None:
    photo = mistake.photo.copy()
    photo.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    axes.imshow(photo)
    hide_axes(axes)
    # A panorama leaves its panel nearly empty; photos hang from the top, so that all titles stand in line.
    axes.set_anchor("N")
    guess = _wrapped(f"taken for {mistake.guess}")
    above = 4 + 15 * (1 + guess.count("\n"))
    _write_above(axes, guess, 4, BAD)
    _write_above(axes, _wrapped(f"is {mistake.class_name}"), above, GOOD)
    axes.set_xlabel(f"confidence {mistake.confidence:.1%}", color=MUTED, fontsize=10)


def _write_above(axes: Axes, text: str, points: float, colour: str) -> None:
    axes.annotate(
        text,
        (0.5, 1),
        xytext=(0, points),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="bottom",
        color=colour,
        fontsize=11,
    )


def draw_confusion(confusion: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Draw which class was taken for which, as shares of each true class (rows sum to 1).

    Args:
        confusion: one row a photo, ``actual`` and ``predicted`` class names.
        classes: all class names, in the order of the axes.
    """
    index = {name: position for position, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (confusion["actual"].map(index), confusion["predicted"].map(index)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.4 + 0.34 * len(classes))
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    picture = axes.imshow(shares, vmin=0, vmax=1)
    size = 10 if len(classes) <= 20 else 8
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(range(len(classes)), classes, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title("Confusion on the test photos")
    if len(classes) <= 20:
        _write_counts(axes, counts, shares)
    figure.colorbar(picture, ax=axes, label="share of the true class", shrink=0.7)
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "black" if shares[row, column] > 0.55 else "white"
        axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)


def draw_reliability(reliability: pd.DataFrame) -> Figure:
    """Draw accuracy against confidence (columns ``confidence``, ``accuracy``, ``count``), one point a bin."""
    figure = new_figure(5.4, 5.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="perfectly calibrated")
    area = 20 + 380 * reliability["count"] / max(1, reliability["count"].max())
    axes.plot(reliability["confidence"], reliability["accuracy"], color=PRIMARY, linewidth=1.2)
    label = "bins of test photos (area: number of photos)"
    axes.scatter(reliability["confidence"], reliability["accuracy"], s=area, color=PRIMARY, alpha=0.75, label=label)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.05), xlabel="mean confidence of the bin", ylabel="accuracy in the bin")
    axes.set_title("Reliability: is the confidence deserved?")
    axes.legend(loc="upper left", fontsize=9, markerscale=0.5)
    return figure


def draw_history(history: pd.DataFrame) -> Figure:
    """Draw the curves of training: losses on the left, validation accuracy on the right.

    Args:
        history: the table that finetune writes; ``step`` and any of ``train_loss``, ``val_loss``, ``val_accuracy``,
            with empty cells where nothing was measured.
    """
    figure = new_figure(10, 3.8)
    left, right = figure.subplots(1, 2)
    for column, colour, name in (("train_loss", PRIMARY, "training"), ("val_loss", SECONDARY, "validation")):
        _draw_curve(left, history, column, colour, name)
    _draw_curve(right, history, "val_accuracy", SECONDARY, "validation")
    left.set(xlabel="training step", ylabel="cross-entropy (nats)", title="Loss")
    right.set(xlabel="training step", ylabel="accuracy", title="Accuracy on the validation photos")
    if left.get_legend_handles_labels()[1]:
        left.legend()
    return figure


def _draw_curve(axes: Axes, history: pd.DataFrame, column: str, colour: str, name: str) -> None:
    if column not in history:
        return
    measured = history.dropna(subset=[column])
    few = len(measured) <= 30
    if len(measured):
        axes.plot(
            measured["step"], measured[column], color=colour, label=name, marker="o" if few else None, markersize=4
        )


def _wrapped(text: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(text.replace("_", " "), width, max_lines=2, placeholder=" ...")) or text
