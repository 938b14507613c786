"""prepare: from a folder of photos to the manifest, with everything that was left out or changed by name."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vit_atlas.data.candidates import Layout
from vit_atlas.data.duplicates import find_duplicates, group_of, together
from vit_atlas.data.findings import Findings, collect_findings
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.data.problems import check_pattern, check_usable, warnings
from vit_atlas.data.remembered import NOT_OF_THE_FILE, Inspection
from vit_atlas.data.splits import SPLITS, Member, assign_splits
from vit_atlas.data.verify import inspect_all
from vit_atlas.errors import printable
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import CLASSES, DUPLICATES, MANIFEST, MASKS_DROPPED, PREPARE_SUMMARY, PREPARED, REJECTED, TOGETHER
from vit_atlas.settings import DataSettings


@dataclass(frozen=True)
class Prepared:
    """What a folder of photos turned out to hold."""

    manifest: Manifest
    layout: Layout
    findings: Findings
    metrics: dict[str, Any]
    """Counts and warnings, the content of metrics/prepare.json."""
    together: list[int]
    """For each photo of the manifest a number that it shares with its copies, near-duplicates and group."""
    decoded: int
    """Files that were read in this run; some cannot be read at all."""
    remembered: int
    """Files that were read in an earlier run."""

    @property
    def classes(self) -> list[str]:
        """Class names; the index of a name is its label."""
        return list(self.layout.classes)


def prepare(root: Path, settings: DataSettings, cache: Path | None = None) -> Prepared:
    """Find the layout of ``root``, decode every photo once, split, and describe the result.

    Args:
        root: the folder of photos.
        settings: fractions, seed, groups, and limits.
        cache: folder that remembers what earlier runs decoded; the result is the same without.

    Raises:
        AtlasError: there is no known layout, a class or a split is left without a usable photo, or data.group_pattern
            fits none.
    """
    layout = find_layout(root)
    inspections = inspect_all(layout.candidates, settings.max_pixels, cache)
    usable = [item for item in inspections if not item.reason]
    duplicates = find_duplicates(usable, settings.near_duplicate_distance)
    pattern = re.compile(settings.group_pattern) if settings.group_pattern else None
    groups = [group_of(item, pattern) for item in usable]
    check_pattern(root, groups, settings, usable)
    members = [Member(item.candidate.split, item.candidate.class_name, item.sha256) for item in usable]
    bound = together(usable, duplicates, groups)
    splits = assign_splits(members, settings.val_fraction, settings.test_fraction, settings.seed, bound)
    manifest = _manifest(usable, splits, layout.classes)
    check_usable(root, layout, inspections, manifest, settings)
    findings = collect_findings(layout, inspections, duplicates, manifest)
    metrics = _metrics(layout, manifest, findings, groups)
    remembered = sum(item.remembered for item in inspections)
    decoded = sum(not item.remembered and item.kind not in NOT_OF_THE_FILE for item in inspections)
    return Prepared(manifest, layout, findings, metrics, bound, decoded, remembered)


def write_prepared(prepared: Prepared) -> None:
    """Write everything that the prepare stage declares, as a whole."""
    with atomic_folder(PREPARED) as folder:
        prepared.manifest.write(folder / MANIFEST.name)
        write_json(folder / CLASSES.name, prepared.classes)
        found = prepared.findings
        tables = {REJECTED: found.rejected, MASKS_DROPPED: found.masks_dropped, DUPLICATES: found.duplicates}
        for path, table in tables.items():
            write_csv(folder / path.name, table)
        bound = pd.DataFrame({"image_id": prepared.manifest.image_ids, "together": prepared.together})
        write_csv(folder / TOGETHER.name, bound)
        write_json(folder / PREPARE_SUMMARY.name, prepared.metrics)


def summary(prepared: Prepared) -> list[str]:
    """Describe the run in lines: how much was decoded, how much was left out, what is odd."""
    metrics = prepared.metrics
    lines = list(prepared.layout.notes)
    if prepared.remembered:
        lines.append(f"{prepared.decoded} files decoded, {prepared.remembered} known from earlier runs")
    if metrics["rejected_count"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in metrics["rejected"].items())
        lines.append(f"{metrics['rejected_count']} files left out ({kinds}): see {REJECTED}")
    lines += [f"warning: {warning}" for warning in metrics["warnings"]]
    return [printable(line) for line in lines]


def _manifest(usable: Sequence[Inspection], splits: Sequence[str], classes: Sequence[str]) -> Manifest:
    labels = {name: label for label, name in enumerate(classes)}
    rows = []
    for item, split in zip(usable, splits, strict=True):
        candidate, found = item.candidate, item.facts
        mask = candidate.mask if candidate.mask is not None and not item.mask_reason else None
        rows.append(
            (
                candidate.image_id,
                candidate.path.as_posix(),
                split,
                labels[candidate.class_name],
                candidate.class_name,
                found.width,
                found.height,
                mask.as_posix() if mask else "",
                candidate.mask_kind if mask else "",
                item.sha256,
                ";".join(found.conversions),
                item.mask_sha256 if mask else "",
            )
        )
    return Manifest(pd.DataFrame(rows, columns=list(COLUMNS)))


def _metrics(layout: Layout, manifest: Manifest, findings: Findings, groups: Sequence[str]) -> dict[str, Any]:
    """Counts only: the files' names are in the tables of build/prepared, however many they are."""
    splits = Counter(manifest.frame["split"])
    converted = [text for text in manifest.frame["conversions"] if text]
    kinds = Counter(kind for text in converted for kind in text.split(";"))
    reasons = Counter(findings.rejected["kind"])
    copies, near = (
        findings.duplicates[findings.duplicates["kind"] == kind].groupby("group") for kind in ("copy", "near")
    )
    return {
        "layout": layout.kind,
        "classes": len(layout.classes),
        "photos": len(manifest),
        **{split: splits[split] for split in SPLITS},
        "masks": len(manifest.with_masks()),
        "rejected_count": len(findings.rejected),
        "ignored_count": len(layout.ignored),
        "converted_count": len(converted),
        "labels_overridden": layout.overridden,
        "masks_dropped_count": len(findings.masks_dropped),
        "duplicate_groups": copies.ngroups,
        "duplicates_across_splits": int((copies["split"].nunique() > 1).sum()),
        "duplicates_across_classes": int((copies["class_name"].nunique() > 1).sum()),
        "near_duplicate_groups": near.ngroups,
        "near_duplicates_across_splits": int((near["split"].nunique() > 1).sum()),
        "groups": len(set(groups) - {""}),
        "rejected": {kind: reasons[kind] for kind in sorted(reasons)},
        "conversions": {kind: kinds[kind] for kind in sorted(kinds)},
        "warnings": warnings(layout, manifest, findings, groups),
    }
