"""prepare: from a folder of photos to the manifest, with everything that was left out or changed by name."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vit_atlas.data.candidates import Layout
from vit_atlas.data.findings import Findings, find
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.manifest import COLUMNS, write_manifest
from vit_atlas.data.remembered import NOT_OF_THE_FILE, Inspection
from vit_atlas.data.splits import SPLITS, Member, assign_splits
from vit_atlas.data.verify import inspect_all
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.paths import (
    CLASSES,
    DUPLICATES,
    MANIFEST,
    MASKS_DROPPED,
    PREPARE_SUMMARY,
    PREPARED,
    REJECTED,
)
from vit_atlas.settings import DataSettings


@dataclass(frozen=True)
class Prepared:
    """What prepare found: the manifest, class names by label, photos by class and split, what there is to say about
    single files, and the metrics. ``decoded`` files were read in this run, ``remembered`` ones in an earlier one, and
    the rest could not be read."""

    manifest: pd.DataFrame
    classes: list[str]
    findings: Findings
    metrics: dict[str, Any]
    decoded: int
    remembered: int


def prepare(root: Path, settings: DataSettings, cache: Path | None = None) -> Prepared:
    """Find the layout of ``root``, decode every photo once, split, and describe the result.

    Args:
        root: the folder of photos.
        settings: fractions, seed and the limit on pixels.
        cache: folder that remembers what earlier runs decoded; the result is the same without.

    Raises:
        AtlasError: there is no known layout, or a class or a split is left without a usable photo.
    """
    layout = find_layout(root)
    inspections = inspect_all(layout.candidates, settings.max_pixels, cache)
    usable = [item for item in inspections if not item.reason]
    _check_usable(root, layout, inspections)
    members = [Member(item.candidate.split, item.candidate.class_name, item.sha256) for item in usable]
    splits = assign_splits(members, settings.val_fraction, settings.test_fraction, settings.seed)
    manifest = _manifest(usable, splits, list(layout.classes))
    warnings = _check_splits(root, manifest, layout, settings)
    findings = find(layout, inspections, manifest)
    metrics = _metrics(layout, manifest, findings, warnings)
    remembered = sum(item.remembered for item in inspections)
    decoded = sum(not item.remembered and item.kind not in NOT_OF_THE_FILE for item in inspections)
    return Prepared(manifest, list(layout.classes), findings, metrics, decoded, remembered)


def write_prepared(prepared: Prepared) -> None:
    """Write everything that the prepare stage declares, each as a whole."""
    with atomic_folder(PREPARED) as folder:
        write_manifest(prepared.manifest, folder / MANIFEST.name)
        write_json(folder / CLASSES.name, prepared.classes)
        found = prepared.findings
        tables = {REJECTED: found.rejected, MASKS_DROPPED: found.masks_dropped, DUPLICATES: found.duplicates}
        for path, table in tables.items():
            table.to_csv(folder / path.name, index=False, lineterminator="\n", encoding="utf-8")
        write_json(folder / PREPARE_SUMMARY.name, prepared.metrics)


def summary(prepared: Prepared) -> list[str]:
    """What the stage says at its end, one line each: how much was decoded, how much was left out, what is odd."""
    metrics = prepared.metrics
    lines = []
    if prepared.remembered:
        lines.append(f"{prepared.decoded} files decoded, {prepared.remembered} known from earlier runs")
    if metrics["rejected_count"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in metrics["rejected"].items())
        lines.append(f"{metrics['rejected_count']} files left out ({kinds}): see {REJECTED}")
    return lines + [f"warning: {warning}" for warning in metrics["warnings"]]


def _check_usable(root: Path, layout: Layout, inspections: list[Inspection]) -> None:
    """Stop where the folder's own classes or splits have no photo left, or one photo has to be split."""
    usable = [item.candidate for item in inspections if not item.reason]
    if not usable:
        raise AtlasError(f"{root} has no usable photo: {_first_reason(layout, inspections)}")
    per_class = Counter(candidate.class_name for candidate in usable)
    for name in layout.classes:
        if not per_class[name]:
            ours = [item for item in inspections if item.candidate.class_name == name]
            why = _first_reason(layout, ours) if ours else "none of its photos is there"
            raise AtlasError(f"class `{name}` in {root} has no usable photo ({why}): add photos or remove the class")
    if len(layout.classes) == 1:
        raise AtlasError(f"{root} has one class only, `{layout.classes[0]}`: two classes are needed to tell apart")
    per_split = Counter(candidate.split for candidate in usable)
    for split in sorted(layout.splits):
        if not per_split[split]:
            raise AtlasError(f"the {split} split of {root} has no usable photo: add photos or remove its folder")
    if layout.splits <= {"train"}:
        single = [candidate for candidate in usable if per_class[candidate.class_name] == 1]
        if single:
            raise AtlasError(
                f"class `{single[0].class_name}` in {root} has one photo only ({single[0].image_id}): "
                "two are needed, one to train on and one to test; add photos or remove the class"
            )


def _check_splits(root: Path, manifest: pd.DataFrame, layout: Layout, settings: DataSettings) -> list[str]:
    """Stop where a split is empty or training lacks a class; return sentences about what is merely odd."""
    present = {split: set(manifest.loc[manifest["split"] == split, "class_name"]) for split in SPLITS}
    for split in SPLITS:
        if present[split]:
            continue
        if split == "train":
            raise AtlasError(f"{root} has no photo to train on: add a train/ folder beside {_listed(layout.splits)}")
        fraction = getattr(settings, f"{split}_fraction")
        raise AtlasError(
            f"the {split} split of {root} is empty with data.{split}_fraction: {fraction} in params.yaml: "
            "raise it, or add photos"
        )
    warnings = []
    for split in SPLITS:
        missing = [name for name in layout.classes if name not in present[split]]
        if missing and split == "train":
            raise AtlasError(
                f"{root} has no usable training photo of class `{missing[0]}`, which other splits hold: "
                "add some, or remove the class"
            )
        if missing:
            warnings.append(f"the {split} split has no photo of {_listed(missing)}")
    if layout.unused_masks:
        warnings.append(
            f"files in masks/ that belong to no photo: {len(layout.unused_masks)}, {layout.unused_masks[0]} first"
        )
    return warnings


def _manifest(usable: list[Inspection], splits: list[str], classes: list[str]) -> pd.DataFrame:
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
            )
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _metrics(layout: Layout, manifest: pd.DataFrame, findings: Findings, warnings: list[str]) -> dict[str, Any]:
    """Counts only: the files' names are in the tables of build/prepared, however many they are."""
    splits = Counter(manifest["split"])
    converted = manifest.loc[manifest["conversions"] != "", "conversions"]
    kinds = Counter(kind for text in converted for kind in text.split(";"))
    reasons = Counter(findings.rejected["kind"])
    groups = findings.duplicates.groupby("group")
    return {
        "layout": layout.kind,
        "classes": len(layout.classes),
        "photos": len(manifest),
        **{split: splits[split] for split in SPLITS},
        "masks": int((manifest["mask"] != "").sum()),
        "rejected_count": len(findings.rejected),
        "converted_count": len(converted),
        "masks_dropped_count": len(findings.masks_dropped),
        "duplicate_groups": groups.ngroups,
        "duplicates_across_splits": int((groups["split"].nunique() > 1).sum()),
        "duplicates_across_classes": int((groups["class_name"].nunique() > 1).sum()),
        "rejected": {kind: reasons[kind] for kind in sorted(reasons)},
        "conversions": {kind: kinds[kind] for kind in sorted(kinds)},
        "warnings": warnings,
    }


def _first_reason(layout: Layout, inspections: list[Inspection]) -> str:
    reasons = [(item.candidate.image_id, item.reason) for item in inspections if item.reason]
    reasons = reasons or [(item.file, item.reason) for item in layout.rejected]
    if not reasons:
        return "there is no photo"
    more = f", and {len(reasons) - 1} more files rejected" if len(reasons) > 1 else ""
    return f"{reasons[0][0]}: {reasons[0][1]}{more}"


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(f"`{name}`" for name in ordered[:8])
    return f"{shown} and {len(ordered) - 8} more" if len(ordered) > 8 else shown
