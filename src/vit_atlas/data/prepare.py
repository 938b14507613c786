"""prepare: from a folder of photos to the manifest, with everything that was left out or changed by name."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from vit_atlas.data.layouts import Layout, find_layout
from vit_atlas.data.manifest import COLUMNS, write_manifest
from vit_atlas.data.splits import SPLITS, Member, assign_splits
from vit_atlas.data.verify import Inspection, inspect_all, same_pictures
from vit_atlas.errors import AtlasError
from vit_atlas.files import atomic_file, atomic_folder, write_json
from vit_atlas.paths import CLASS_COUNTS, CLASSES, MANIFEST, PREPARE_METRICS, PREPARED
from vit_atlas.settings import DataSettings


@dataclass(frozen=True)
class Prepared:
    """What prepare found: the manifest, class names by label, photos by class and split, and the metrics."""

    manifest: pd.DataFrame
    classes: list[str]
    class_counts: pd.DataFrame
    metrics: dict[str, Any]


def prepare(root: Path, settings: DataSettings) -> Prepared:
    """Find the layout of ``root``, decode every photo once, split, and describe the result.

    Raises:
        AtlasError: there is no known layout, or a class or a split is left without a usable photo.
    """
    layout = find_layout(root)
    inspections = inspect_all(layout.candidates, settings.max_pixels)
    usable = [item for item in inspections if not item.reason]
    _check_usable(root, layout, inspections)
    members = [Member(item.candidate.split, item.candidate.class_name, item.sha256) for item in usable]
    splits = assign_splits(members, settings.val_fraction, settings.test_fraction, settings.seed)
    manifest = _manifest(usable, splits, list(layout.classes))
    warnings = _check_splits(root, manifest, layout, settings)
    counts = _class_counts(manifest, list(layout.classes))
    metrics = _metrics(layout, inspections, manifest, warnings)
    return Prepared(manifest, list(layout.classes), counts, metrics)


def write_prepared(prepared: Prepared) -> None:
    """Write everything that the prepare stage declares, each as a whole."""
    with atomic_folder(PREPARED) as folder:
        write_manifest(prepared.manifest, folder / MANIFEST.name)
        write_json(folder / CLASSES.name, prepared.classes)
    with atomic_file(CLASS_COUNTS) as path:
        prepared.class_counts.to_csv(path, index=False, lineterminator="\n")
    write_json(PREPARE_METRICS, prepared.metrics)


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


def _class_counts(manifest: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Photos of every class in every split, one row each, zeros included."""
    counts = manifest.groupby(["class_name", "split"]).size()
    rows = [(name, split, int(counts.get((name, split), 0))) for name in classes for split in SPLITS]
    return pd.DataFrame(rows, columns=["class_name", "split", "photos"])


def _metrics(
    layout: Layout, inspections: list[Inspection], manifest: pd.DataFrame, warnings: list[str]
) -> dict[str, Any]:
    usable = [item for item in inspections if not item.reason]
    rejected = [{"file": item.candidate.image_id, "reason": item.reason} for item in inspections if item.reason]
    rejected += [{"file": item.file, "reason": item.reason} for item in layout.rejected]
    rejected.sort(key=lambda item: item["file"])
    dropped = [{"file": item.candidate.image_id, "reason": item.mask_reason} for item in usable if item.mask_reason]
    converted = [
        {"file": item.candidate.image_id, "conversions": list(item.facts.conversions)}
        for item in usable
        if item.facts.conversions
    ]
    kinds = Counter(kind for item in usable for kind in item.facts.conversions)
    duplicates = _duplicates(usable, manifest)
    splits = Counter(manifest["split"])
    return {
        "layout": layout.kind,
        "classes": len(layout.classes),
        "photos": len(usable),
        **{split: splits[split] for split in SPLITS},
        "masks": int((manifest["mask"] != "").sum()),
        "rejected_count": len(rejected),
        "converted_count": len(converted),
        "masks_dropped_count": len(dropped),
        "duplicate_groups": len(duplicates),
        "duplicates_across_splits": sum(len(group["splits"]) > 1 for group in duplicates),
        "duplicates_across_classes": sum(len(group["classes"]) > 1 for group in duplicates),
        "conversions": {kind: kinds[kind] for kind in sorted(kinds)},
        "warnings": warnings,
        "rejected": rejected,
        "converted": converted,
        "masks_dropped": dropped,
        "duplicates": duplicates,
    }


def _duplicates(usable: list[Inspection], manifest: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry a picture that several files hold: their names, and the splits and classes that they are in."""
    splits = dict(zip(manifest["image_id"], manifest["split"], strict=True))
    entries = []
    for group in same_pictures(usable):
        files = [item.candidate.image_id for item in group]
        found = {splits[file] for file in files}
        classes = sorted({item.candidate.class_name for item in group})
        entries.append({"files": files, "splits": [name for name in SPLITS if name in found], "classes": classes})
    return entries


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
