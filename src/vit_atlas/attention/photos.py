"""Which photos attn-viz draws: those named in params.yaml, or a telling choice."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath

import pandas as pd

from vit_atlas.data.manifest import Manifest
from vit_atlas.errors import AtlasError
from vit_atlas.io.frames import read_csv
from vit_atlas.paths import PREDICTIONS


def choose_photos(
    wanted: str | Sequence[str], count: int, manifest: Manifest, predictions: pd.DataFrame, patch: tuple[int, int]
) -> list[str]:
    """Return the image_ids of the photos to draw.

    Args:
        wanted: ``auto``, or file names (`26_5064.jpg`) or image_ids (`cat/26_5064.jpg`) of any split.
        count: how many photos ``auto`` chooses.
        manifest: all photos.
        predictions: build/predictions.csv, the model's guesses on the test photos.
        patch: height and width of a patch: ``auto`` passes photos by that are smaller.

    Raises:
        AtlasError: ``auto`` finds no photo; a name is not in the manifest (the message lists near ones) or is the name
            of several photos.
    """
    if isinstance(wanted, str):
        drawable = [photo.image_id for photo in manifest if photo.holds_patch(patch)]
        return _balanced_choice(predictions[predictions["image_id"].isin(drawable)], count)
    known = manifest.image_ids
    return list(dict.fromkeys(_find(name, known) for name in wanted))


def read_predictions() -> pd.DataFrame:
    """Read the model's guesses on the test photos.

    Raises:
        AtlasError: the file is missing or lacks a column.
    """
    return read_csv(PREDICTIONS, "evaluate", ("image_id", "class_name"))


def _find(name: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    matches = [image_id for image_id in known if PurePosixPath(image_id).name == PurePosixPath(name).name]
    matches = [image_id for image_id in matches if image_id.endswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise AtlasError(
            f"attention.photos: {name} is the name of {len(matches)} photos, write one of {', '.join(matches[:4])}"
        )
    names = [PurePosixPath(image_id).name for image_id in known]
    near = get_close_matches(PurePosixPath(name).name, names, n=3, cutoff=0.5)
    hint = f"near names are {', '.join(near)}" if near else "write file names as they are in data/classification"
    raise AtlasError(f"attention.photos: there is no photo named {name} in build/prepared/manifest.csv: {hint}")


def _balanced_choice(predictions: pd.DataFrame, count: int) -> list[str]:
    """Half wrong and half right where there are enough of both, each from as many classes as there are."""
    if predictions.empty:
        raise AtlasError("attention.photos: no test photo is as large as a patch, so `auto` has nothing to draw")
    correct = predictions["correct"].astype(bool)
    right, wrong = predictions[correct], predictions[~correct]
    wrong_count = min(len(wrong), max(count // 2, count - len(right)))
    chosen = _spread(wrong, wrong_count, [])
    classes = [str(name) for name in wrong.set_index("image_id").loc[chosen, "class_name"]]
    return chosen + _spread(right, count - wrong_count, classes)


def _spread(frame: pd.DataFrame, count: int, taken: Sequence[str]) -> list[str]:
    """The most confident photo of one class after the other, classes not in ``taken`` first."""
    ordered = frame.assign(
        confidence=frame["confidence"].astype(float),
        turn=frame["class_name"].map(lambda name: list(taken).count(name)),
    ).sort_values(["confidence", "image_id"], ascending=[False, True], kind="stable")
    ordered["turn"] = ordered["turn"].astype(int) + ordered.groupby("class_name").cumcount()
    ordered = ordered.sort_values("turn", kind="stable")
    return [str(image_id) for image_id in ordered["image_id"].head(count)]
