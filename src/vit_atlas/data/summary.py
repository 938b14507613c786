"""metrics/prepare.json and the photos of every class, from what prepare wrote."""

import pandas as pd

from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.data.splits import SPLITS
from vit_atlas.io.files import read_json
from vit_atlas.io.summary import Summary
from vit_atlas.paths import CLASS_COUNTS, PREPARE_METRICS, PREPARE_SUMMARY
from vit_atlas.settings import Settings


def summarise(settings: Settings) -> Summary:
    """Count the photos of every class and split, beside the counts that prepare kept."""
    counts = class_counts(Manifest.read(), read_classes())
    return Summary(read_json(PREPARE_SUMMARY), PREPARE_METRICS, {CLASS_COUNTS: counts})


def class_counts(manifest: Manifest, classes: list[str]) -> pd.DataFrame:
    """Photos of every class in every split, one row each, zeros included: class_name, split, photos."""
    counts = manifest.frame.groupby(["class_name", "split"]).size()
    rows = [(name, split, int(counts.get((name, split), 0))) for name in classes for split in SPLITS]
    return pd.DataFrame(rows, columns=["class_name", "split", "photos"])
