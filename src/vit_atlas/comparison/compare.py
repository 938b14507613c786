"""Two results compared: numbers with verdicts, photos that changed, and what had to be left out."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vit_atlas import paths
from vit_atlas.comparison import measures
from vit_atlas.comparison.paired import Measure, Row, compare_estimates, compare_measure, judge
from vit_atlas.comparison.results import MAPS, SCORES, WORDS, Result, open_result, repeat_tables
from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.io.frames import read_csv

BINS = 15
"""Bins of the calibration error where params.yaml names none."""


@dataclass(frozen=True)
class ChangedPhoto:
    """A test photo to which the two results give different answers."""

    image_id: str
    class_name: str
    old: str
    new: str
    picture: str | None
    """Both results' maps and their difference; None where the photo was not drawn in both."""

    @property
    def change(self) -> str:
        """Whether the answer is right now, wrong now, or another wrong one."""
        return (
            "right now" if self.new == self.class_name else "wrong now" if self.old == self.class_name else "both wrong"
        )


@dataclass(frozen=True)
class Comparison:
    """All that is said about two results."""

    old: str
    new: str
    photos: int | None
    """Test photos in common; None where they are not known by photo."""
    trainings: tuple[int, int]
    rows: list[Row]
    changed: list[ChangedPhoto]
    moved: dict[str, float]
    """Share of the map in another place, mean over the photos drawn in both, by method."""
    notes: list[str]

    def worse(self, names: Sequence[str] = ()) -> list[str]:
        """Name the numbers that are worse, of all or of ``names``.

        Raises:
            AtlasError: the results do not have a number of ``names``, or it has no interval to judge by.
        """
        judged = {row.name: row for row in self.rows if row.p is not None}
        unknown = [name for name in names if name not in judged]
        if unknown:
            raise AtlasError(
                f"--fail-on names {', '.join(unknown)}, which cannot be compared here; it takes {', '.join(judged)}"
            )
        return [name for name, row in judged.items() if row.verdict == "worse" and (not names or name in names)]


def compare(old: str | None, new: str | None, pictures: Path | None = None) -> Comparison:
    """Compare two results photo by photo.

    Args:
        old: see :func:`vit_atlas.comparison.results.open_result`.
        new: the same.
        pictures: a folder for the maps of both, which is replaced; None draws nothing.

    Raises:
        AtlasError: one of them is no result, or they have too few test photos or nothing at all in common.
    """
    with open_both(old, new) as sides:
        return compare_results(*sides, pictures)


@contextmanager
def open_both(old: str | None, new: str | None, more: Sequence[Path] = ()) -> Iterator[tuple[Result, Result]]:
    """Bring the files of two results, ``more`` beside those that are compared, and take them away again.

    Raises:
        AtlasError: see :func:`vit_atlas.comparison.results.open_result`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        yield open_result(old, Path(scratch) / "old", more), open_result(new, Path(scratch) / "new", more)


def compare_results(old: Result, new: Result, pictures: Path | None = None) -> Comparison:
    """Compare two results whose files are at hand, see :func:`compare`."""
    notes = [sentence for result in (old, new) for sentence in _unavailable(result)]
    predictions, ids = _predictions(old, new, notes)
    rows = judge(_rows(old, new, predictions, ids, notes))
    moved, drawn = _draw(old, new, pictures, notes) if pictures else ({}, {})
    if not rows and not moved:
        raise AtlasError(f"{old.name} and {new.name} share no number: " + (notes[0] if notes else "run `dvc repro`"))
    trainings = (len(predictions[0]) or 1, len(predictions[1]) or 1)
    same = old.shares(paths.MODEL, new) and old.recorded(paths.CAPTIONER) == new.recorded(paths.CAPTIONER)
    if rows and trainings == (1, 1) and not same:
        notes.append(
            "each was trained once: verdicts on answers are about these two models, those on maps and words assume "
            "the spread between trainings of the sample; finetune.repeats and captions.repeats measure it"
        )
    known = old.has(paths.PREDICTIONS) and new.has(paths.PREDICTIONS)
    changed = _changed(predictions[0][0], predictions[1][0], ids, drawn) if known else []
    return Comparison(old.name, new.name, len(ids) or None, trainings, rows, changed, moved, notes)


def _unavailable(result: Result) -> Iterator[str]:
    if result.unavailable:
        named = ", ".join(result.unavailable[:3]) + (" and others" if len(result.unavailable) > 3 else "")
        yield (
            f"of {result.name} neither DVC's cache nor a remote has {named}, so it is compared by what git holds: "
            "`dvc fetch` it, or `dvc push` it where it was made"
        )


def _predictions(old: Result, new: Result, notes: list[str]) -> tuple[list[measures.Tables], list[str]]:
    """Tables of predictions of both, by training, and the photos they share; empty where these cannot be told."""
    sides: list[measures.Tables] = [
        _trainings(result, paths.PREDICTIONS, "finetune", paths.REPEATS, notes) for result in (old, new)
    ]
    if not all(sides):
        sides = _from_confusion(old, new, sides)
    if not all(sides):
        return [[], []], []
    common = measures.in_common(sides[0][0], sides[1][0])
    if common.only_old or common.only_new:
        notes.append(
            f"the test photos differ: {len(common.ids)} are in both and are compared, {common.only_old} are only in "
            f"{old.name}, {common.only_new} only in {new.name}"
        )
    if common.relabelled:
        notes.append(f"{common.relabelled} test photos have another class in the other result and are left out")
    return sides, common.ids


def _trainings(result: Result, first: Path, section: str, folder: Path, notes: list[str]) -> list[pd.DataFrame]:
    """The table ``first`` of every training of a result; those that cannot be paired are left out, with a note."""
    texts = {paths.PREDICTIONS: ("image_id", "class_name", "predicted_name"), SCORES: ("image_id", "method")}
    if not result.has(first):
        return []
    names = [first, *repeat_tables(result, section, folder, first.name)]
    tables = [read_csv(result.folder / name, "metrics", texts.get(first, ("image", "score"))) for name in names]
    if first == WORDS:  # Other photos in every training: those whose caption has such words.
        return tables
    photos = set(tables[0]["image_id"])
    kept = [table for table in tables if set(table["image_id"]) == photos]
    if len(kept) < len(tables):
        notes.append(
            f"of {result.name}, {len(tables) - len(kept)} of {len(tables) - 1} further trainings have a {first.name} "
            "of other photos and are left out: `dvc repro` brings them up to date"
        )
    return kept


def _from_confusion(old: Result, new: Result, sides: list[measures.Tables]) -> list[measures.Tables]:
    """Take the missing predictions from the table in git, where the same photos were prepared: it keeps their order."""
    if not old.shares(paths.PREPARED, new):
        return [[], []]
    known = next((list(side[0]["image_id"]) for side in sides if side), None)
    found = []
    for result, side in zip((old, new), sides, strict=True):
        if side:
            found.append([side[0]])
        elif result.has(paths.CONFUSION):
            table = read_csv(result.folder / paths.CONFUSION, "metrics", ("actual", "predicted"))
            ids = known or [str(place) for place in range(len(table))]
            if len(ids) != len(table):
                return [[], []]
            found.append(
                [pd.DataFrame({"image_id": ids, "class_name": table["actual"], "predicted_name": table["predicted"]})]
            )
        else:
            return [[], []]
    return list(found)


def _rows(
    old: Result, new: Result, predictions: Sequence[measures.Tables], ids: Sequence[str], notes: list[str]
) -> list[Row]:
    same_model, same_captioner = old.shares(paths.MODEL, new), old.shares(paths.CAPTIONER, new)

    def spread(part: str, name: str) -> float:
        same = same_captioner if part == "caption" else same_model
        return 0.0 if same else measures.SPREADS.get(name, measures.SPREADS.get(part, 0.0))

    found = [replace(one, spread=spread(one.part, one.name)) for one in _measures(old, new, predictions, ids, notes)]
    rows = {(one.part, one.name): compare_measure(one) for one in found}
    before, after = old.metrics(), new.metrics()
    known = {
        "evaluate": measures.PREDICTED,
        "attention": measures.looked_at(),
        "interventions": measures.INTERVENED,
        "caption": measures.CAPTIONED | {"bleu_4": 1, "cider": 1},
    }
    for part, names in known.items():
        for name, better in names.items():
            values = [Estimate.read(metrics.get(part, {}), name) for metrics in (before, after)]
            row = compare_estimates(part, name, better, values[0], values[1], spread(part, name))
            if row is not None and (part, name) not in rows:
                rows[part, name] = row
    order = {(part, name): place for place, (part, name) in enumerate((p, n) for p in known for n in known[p])}
    return sorted(rows.values(), key=lambda row: order[row.part, row.name])


def _measures(
    old: Result, new: Result, predictions: Sequence[measures.Tables], ids: Sequence[str], notes: list[str]
) -> Iterator[Measure]:
    if ids:
        bins = new.setting("evaluate", "calibration_bins")
        yield from measures.of_predictions(predictions[0], predictions[1], ids, bins if isinstance(bins, int) else BINS)
    scores = [_trainings(result, SCORES, "finetune", paths.REPEATS, notes) for result in (old, new)]
    if all(scores):
        yield from measures.of_scores(scores[0], scores[1])
    if old.has(paths.INTERVENTIONS) and new.has(paths.INTERVENTIONS):
        texts = ("image_id", "class_name", "intervention", "filling")
        tables = [read_csv(one.folder / paths.INTERVENTIONS, "interventions", texts) for one in (old, new)]
        yield from measures.of_interventions(tables[0], tables[1])
    words = [_trainings(result, WORDS, "captions", paths.CAPTION_REPEATS, notes) for result in (old, new)]
    if all(words):
        yield from measures.of_words(words[0], words[1])


def _draw(old: Result, new: Result, folder: Path, notes: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """By how much the maps of every method differ, and the picture of each photo that is drawn."""
    if not (old.has(MAPS) and new.has(MAPS)):
        return {}, {}
    from vit_atlas.comparison.maps import SavedMaps, draw_differences

    try:
        sides = [SavedMaps.load(result.folder / MAPS) for result in (old, new)]
        moved, drawn = draw_differences(sides[0], sides[1], folder, new.photos)
    except AtlasError as error:
        notes.append(f"no maps are drawn: {error}")
        return {}, {}
    return moved, {image_id: (folder / name).as_posix() for image_id, name in drawn.items()}


def _changed(old: pd.DataFrame, new: pd.DataFrame, ids: Sequence[str], drawn: Mapping[str, str]) -> list[ChangedPhoto]:
    before, after = (table.set_index("image_id").loc[list(ids)] for table in (old, new))
    other = before["predicted_name"] != after["predicted_name"]
    changed = [
        ChangedPhoto(name, actual, was, now, drawn.get(name))
        for name, actual, was, now in zip(
            after.index[other],
            after["class_name"][other],
            before["predicted_name"][other],
            after["predicted_name"][other],
            strict=True,
        )
    ]
    order = ("wrong now", "right now", "both wrong")
    return sorted(changed, key=lambda photo: (order.index(photo.change), photo.image_id))
