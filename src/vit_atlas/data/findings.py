"""What prepare has to say about single files: left out, mask dropped, one picture in several files."""

from dataclasses import dataclass

import pandas as pd

from vit_atlas.data.candidates import Layout
from vit_atlas.data.remembered import Inspection
from vit_atlas.data.verify import same_pictures


@dataclass(frozen=True)
class Findings:
    """One table for each thing to say, sorted by file."""

    rejected: pd.DataFrame
    """Columns file, kind, reason: one row a file that is not in the manifest."""
    masks_dropped: pd.DataFrame
    """Columns file, reason: photos that are in the manifest without the mask that lies beside them."""
    duplicates: pd.DataFrame
    """Columns group, file, split, class_name: files that hold one picture share a group."""


def find(layout: Layout, inspections: list[Inspection], manifest: pd.DataFrame) -> Findings:
    """Collect the findings of a folder whose usable photos are in ``manifest``."""
    usable = [item for item in inspections if not item.reason]
    rejected = [(item.candidate.image_id, item.kind, item.reason) for item in inspections if item.reason]
    rejected += [(item.file, item.kind, item.reason) for item in layout.rejected]
    dropped = [(item.candidate.image_id, item.mask_reason) for item in usable if item.mask_reason]
    splits = dict(zip(manifest["image_id"], manifest["split"], strict=True))
    duplicates = [
        (number, item.candidate.image_id, splits[item.candidate.image_id], item.candidate.class_name)
        for number, group in enumerate(same_pictures(usable))
        for item in group
    ]
    # CSV readers take a carriage return for the end of a line, so it is shown as an escape.
    rejected = [(file.replace("\r", "\\r"), kind, reason) for file, kind, reason in rejected]
    return Findings(
        pd.DataFrame(sorted(rejected), columns=["file", "kind", "reason"]),
        pd.DataFrame(dropped, columns=["file", "reason"]),
        pd.DataFrame(duplicates, columns=["group", "file", "split", "class_name"]),
    )
