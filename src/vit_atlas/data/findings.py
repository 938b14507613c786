"""What prepare has to say about single files: left out, mask dropped, one picture in several files."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from vit_atlas.data.candidates import Layout
from vit_atlas.data.duplicates import Duplicates
from vit_atlas.data.manifest import Manifest
from vit_atlas.data.remembered import Inspection


@dataclass(frozen=True)
class Findings:
    """One table for each thing to say, sorted by file."""

    rejected: pd.DataFrame
    """Columns file, kind, reason: one row a file that is not in the manifest."""
    masks_dropped: pd.DataFrame
    """Columns file, reason: photos that are in the manifest without the mask that lies beside them."""
    duplicates: pd.DataFrame
    """Columns group, kind, distance, file, split, class_name: files that show one picture share a group; see
    :class:`vit_atlas.data.duplicates.Duplicates`."""


def collect_findings(
    layout: Layout, inspections: Sequence[Inspection], duplicates: Sequence[Duplicates], manifest: Manifest
) -> Findings:
    """Put what was found about single files into tables; ``manifest`` holds the usable ones."""
    rejected = [(item.candidate.image_id, item.kind, item.reason) for item in inspections if item.reason]
    rejected += [(item.file, item.kind, item.reason) for item in layout.rejected]
    # CSV readers take a carriage return for the end of a line, so it is shown as an escape.
    rejected = [(file.replace("\r", "\\r"), kind, reason) for file, kind, reason in rejected]
    dropped = [(item.candidate.image_id, item.mask_reason) for item in inspections if item.mask_reason]
    splits = dict(zip(manifest.image_ids, manifest.frame["split"], strict=True))
    rows = [
        (number, group.kind, bits, item.candidate.image_id, splits[item.candidate.image_id], item.candidate.class_name)
        for number, group in enumerate(duplicates)
        for item, bits in zip(group.members, group.distances, strict=True)
    ]
    return Findings(
        pd.DataFrame(sorted(rejected), columns=["file", "kind", "reason"]),
        pd.DataFrame(dropped, columns=["file", "reason"]),
        pd.DataFrame(rows, columns=["group", "kind", "distance", "file", "split", "class_name"]),
    )
