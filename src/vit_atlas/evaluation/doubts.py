"""The suspects of the data at hand: the probe's features of every split, folds, and where the model looked."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vit_atlas import paths
from vit_atlas.data.manifest import Manifest
from vit_atlas.evaluation.suspects import out_of_fold, suspects
from vit_atlas.finetune.probe import read_features, read_probe
from vit_atlas.io.arrays import read_arrays
from vit_atlas.io.frames import read_csv


def doubted(manifest: Manifest, classes: Sequence[str]) -> pd.DataFrame:
    """Rank the suspects of all splits; see :func:`vit_atlas.evaluation.suspects.suspects`.

    Where the model looked is known of the photos of the stage gallery, and of those with a mask.

    Features of training and validation photos are those that finetune fitted the linear probe on, of test photos those
    that evaluate asked it with; where ``finetune.linear_probe`` is off there are none, and no suspect.

    Raises:
        AtlasError: a file is missing or broken, or a mask cannot be opened.
    """
    looks = read_csv(paths.GALLERY / "gallery.csv", "gallery", ("image_id", "split", "class_name", "predicted_name"))
    areas = object_areas(manifest.find(looks.loc[looks["inside"].notna(), "image_id"]))
    probe = read_probe()
    if probe is None:
        return suspects(manifest.where([False] * len(manifest)), np.empty((0, len(classes))), classes, looks, areas)
    parts = [manifest.split(name) for name in ("train", "val", "test")]
    known = read_features() | read_arrays(paths.PROBE_FEATURES, "evaluate")
    photos = Manifest(pd.concat([part.frame for part in parts]))
    features = np.concatenate([known[name] for name in ("train", "val", "test")])
    together = read_csv(paths.TOGETHER, "prepare", ("image_id",)).set_index("image_id")["together"]
    groups = together.loc[photos.image_ids].to_numpy()
    probabilities = out_of_fold(features, photos.labels, groups, len(classes), probe.strength or 1.0)
    return suspects(photos, probabilities, classes, looks, areas)


def object_areas(photos: Manifest) -> pd.Series:
    """Share of labelled pixels that are the object's, by image_id."""
    shares = {}
    for photo in photos:
        mask = photo.open_mask()
        shares[photo.image_id] = float((mask == 1).sum() / max((mask != 255).sum(), 1))
    return pd.Series(shares, dtype=float)
