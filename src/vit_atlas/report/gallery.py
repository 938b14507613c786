"""Photos for the page: those of build/gallery with what is known of each, as many as fit, and the worst mistakes."""

from base64 import b64encode
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from vit_atlas import paths
from vit_atlas.evaluation import suspects
from vit_atlas.interventions.answers import right_from_background
from vit_atlas.io.arrays import read_arrays
from vit_atlas.io.frames import read_csv
from vit_atlas.report.payload import blob, plain, records
from vit_atlas.report.pictures import address

BUDGET = 6_000_000
"""Characters that thumbnails may take; photos beyond are listed without a picture, and the page says so."""
LISTED = 12
"""Mistakes that are shown at once."""
SPLITS = ("test", "val", "train")

Table = pd.DataFrame


def read_gallery(project: Path = Path()) -> Table | None:
    """Read a project's build/gallery with a column ``picture`` (a JPEG's bytes, None without one); None without it.

    Raises:
        AtlasError: a file is broken.
    """
    folder = project / paths.GALLERY
    if not (folder / "gallery.csv").is_file():
        return None
    texts = ("image_id", "split", "class_name", "predicted_name")
    table = read_csv(folder / "gallery.csv", "gallery", texts)
    arrays = read_arrays(folder / "gallery.npz", "gallery")
    pictures = [part.tobytes() for part in np.split(arrays["jpegs"], arrays["ends"][:-1])]
    found = [pictures[place] if place >= 0 else None for place in table["thumbnail"]]
    return table.assign(picture=pd.Series(found, dtype=object))


def gallery(table: Table | None, bins: int) -> dict[str, Any] | None:
    """What the page's scripts search and draw: see ``gallery.js``.

    Args:
        table: from :func:`read_gallery`.
        bins: of the reliability diagram.

    Returns:
        Columns over photos (``names``, ``truth``, ``guess``, ``split`` as indices, ``confidence`` and ``inside`` in
        percent, ``suspect``, ``shortcut``, places), ``pictures`` (base64, empty without one), ``maps``, and
        counts of what is left out; None without a table.
    """
    if table is None:
        return None
    classes = sorted({*table["class_name"], *table["predicted_name"]})
    index = {name: place for place, name in enumerate(classes)}
    shortcuts, doubted = _shortcuts(), _suspects()
    pictures, left_out = _fitting(table)
    arrays = read_arrays(paths.GALLERY / "gallery.npz", "gallery")
    places = {f"{name}_{axis}": table[f"{name}_{axis}"].to_numpy() for name in ("tsne", "pca") for axis in "xy"}
    return plain(
        {
            "classes": classes,
            "splits": SPLITS,
            "bins": bins,
            "names": [PurePosixPath(name).name for name in table["image_id"]],
            "truth": [index[name] for name in table["class_name"]],
            "guess": [index[name] for name in table["predicted_name"]],
            "split": [SPLITS.index(name) for name in table["split"]],
            "confidence": (table["confidence"] * 1000).round().astype(int).tolist(),
            "inside": [None if np.isnan(value) else round(value * 100) for value in table["inside"].astype(float)],
            "suspect": [int(name in doubted) for name in table["image_id"]],
            "shortcut": [int(name in shortcuts) for name in table["image_id"]],
            "thumbnail": table["thumbnail"].tolist(),
            "places": {name: (values * 1000).round().astype(int).tolist() for name, values in places.items()},
            "pictures": pictures,
            "grid": list(arrays["maps"].shape[1:]),
            "without_picture": int((table["thumbnail"] < 0).sum()) + left_out,
            **blob({"maps": arrays["maps"][: len(pictures)]}),
        }
    )


def mistakes(table: Table | None) -> list[dict[str, Any]]:
    """The most confident wrong guesses on the test photos, with a picture (a data: address) where there is one."""
    if not paths.PREDICTIONS.is_file():
        return []
    predictions = read_csv(paths.PREDICTIONS, "evaluate", ("image_id", "class_name", "predicted_name"))
    wrong = predictions[~predictions["correct"].astype(bool)]
    worst = records(wrong.sort_values("confidence", ascending=False, kind="stable").head(LISTED))
    known = {} if table is None else dict(zip(table["image_id"], table["picture"], strict=True))
    for row in worst:
        picture = known.get(row["image_id"])
        row["picture"] = address(picture, "jpeg") if picture else None
    return worst


def left_out(shown: dict[str, Any] | None, prepare: dict[str, Any]) -> str:
    """Say in a sentence what of the data the page does not show; empty where it shows all."""
    if shown is None:
        return ""
    count, all_photos = len(shown["names"]), prepare.get("photos", 0)
    found = []
    if all_photos > count:
        found.append(f"{count} of {all_photos} photos are on this page (gallery.photos in params.yaml)")
    if shown["without_picture"]:
        found.append(f"{shown['without_picture']} of them are listed without a picture (gallery.thumbnails)")
    return "; ".join(found) + "." if found else ""


def _fitting(table: Table) -> tuple[list[str], int]:
    """The thumbnails in their order, as many as fit; and how many do not."""
    encoded = [b64encode(picture).decode() for picture in table["picture"] if picture]
    sizes = np.cumsum([len(text) for text in encoded])
    fitting = int((sizes <= BUDGET).sum())
    return encoded[:fitting], len(encoded) - fitting


def _suspects() -> set[str]:
    """Photos whose label is doubted, wherever the model looked; none where nobody asked."""
    if not paths.SUSPECTS.is_file():
        return set()
    table = read_csv(paths.SUSPECTS, "suspects", suspects.NAMES)
    return set(table.loc[table["kind"] != suspects.SHORTCUT, "image_id"])


def _shortcuts() -> set[str]:
    """Photos that are answered rightly from their background alone; none where nobody asked."""
    if not paths.INTERVENTIONS.is_file():
        return set()
    asked = read_csv(paths.INTERVENTIONS, "interventions", ("image_id", "class_name", "intervention", "filling"))
    return set(right_from_background(asked, len(asked)))
