"""What keeps a folder of photos from being used, all of it in one sentence, and what is only odd."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from vit_atlas.data.candidates import Layout
from vit_atlas.data.class_folders import near_names
from vit_atlas.data.findings import Findings
from vit_atlas.data.manifest import Manifest
from vit_atlas.data.pixels import GUESSED
from vit_atlas.data.remembered import Inspection
from vit_atlas.data.splits import SPLITS
from vit_atlas.errors import AtlasError
from vit_atlas.settings import DataSettings

SHOWN = 8
"""Names told of each kind of problem."""


def check_usable(
    root: Path, layout: Layout, inspections: Sequence[Inspection], manifest: Manifest, settings: DataSettings
) -> None:
    """Check that every class and split has the photos that training and testing need.

    Raises:
        AtlasError: some have not; the message names all of them.
    """
    usable = [item for item in inspections if not item.reason]
    if not usable:
        raise AtlasError(f"{root} has no usable photo: {_first_reason(layout, inspections)}")
    problems = [
        *_class_problems(layout, inspections),
        *_split_problems(layout, inspections, manifest, settings),
        *_training_problems(layout, manifest),
    ]
    if problems:
        raise AtlasError(f"{root} cannot be used: {'; '.join(problems)}")


def check_pattern(root: Path, groups: Sequence[str], settings: DataSettings, photos: Sequence[Inspection]) -> None:
    """Check that data.group_pattern finds groups.

    Raises:
        AtlasError: it fits no photo.
    """
    if settings.group_pattern and photos and not any(groups):
        raise AtlasError(
            f"data.group_pattern in params.yaml ({settings.group_pattern}) fits none of the {len(photos)} photos in "
            f"{root}, such as {photos[0].candidate.image_id}: correct it, or set it to null"
        )


def warnings(layout: Layout, manifest: Manifest, findings: Findings, groups: Sequence[str]) -> list[str]:
    """Sentences about what is odd but does not stop the work."""
    found = list(layout.warnings)
    for split, present in _classes_by_split(manifest).items():
        missing = [name for name in layout.classes if name not in present]
        if missing and split != "train":
            found.append(f"the {split} split has no photo of {_listed(missing)}")
    masked = set(manifest.with_masks().frame["class_name"])
    bare = [name for name in layout.classes if name not in masked]
    if masked and bare:
        found.append(
            f"no photo has a mask in {len(bare)} of {len(layout.classes)} classes ({_listed(bare)}): where the model "
            "looks, and whether it matters, is measured on the others alone"
        )
    if layout.unused_masks:
        expected = Path("masks", layout.candidates[0].image_id).with_suffix(".png").as_posix()
        found.append(
            f"masks that belong to no photo: {len(layout.unused_masks)}, {layout.unused_masks[0]} first; expected the "
            f"names of photos, such as {expected}"
        )
    guessed = Counter(
        kind.removesuffix(GUESSED)
        for text in manifest.frame["conversions"]
        for kind in text.split(";")
        if kind.endswith(GUESSED)
    )
    if guessed:
        depths = ", ".join(f"{guessed[depth]} as {depth}" for depth in sorted(guessed))
        found.append(
            f"photos with 16 bits a sample that do not give their depth are scaled by their highest value ({depths}): "
            "if that is wrong, as for dark photos beside bright ones of one camera, save them with 8 bits"
        )
    found += _leaks(findings)
    by_group = defaultdict(set)
    for name, split in zip(groups, manifest.frame["split"], strict=True):
        by_group[name].add(split)
    torn = [name for name, splits in by_group.items() if name and len(splits) > 1]
    if torn:
        found.append(f"{len(torn)} groups lie in several of the folder's own splits: {_listed(torn)}")
    return found


def _leaks(findings: Findings) -> list[str]:
    """One picture in several splits, which makes the test easier than it should be, or in several classes."""
    found = []
    for kind, what in (("copy", "pictures"), ("near", "groups of near-duplicates")):
        table = findings.duplicates[findings.duplicates["kind"] == kind]
        files = table.groupby("group")["file"].agg(list)
        for column, places in (("split", "splits"), ("class_name", "classes")):
            several = files[table.groupby("group")[column].nunique() > 1].tolist()
            if several and (kind == "copy" or column == "split"):
                first = ", ".join(several[0][:3])
                found.append(f"{len(several)} {what} lie in several {places}: {first} first, all in duplicates.csv")
    return found


def _class_problems(layout: Layout, inspections: Sequence[Inspection]) -> list[str]:
    counts = Counter(item.candidate.class_name for item in inspections if not item.reason)
    problems = []
    empty = [name for name in layout.classes if not counts[name]]
    if empty:
        ours = [item for item in inspections if item.candidate.class_name in empty]
        why = _first_reason(layout, ours) if ours else "none of its photos is there"
        problems.append(f"{_classes(empty, 'no usable photo')} ({why}): add photos or remove the class")
    if len(layout.classes) == 1:
        tables = [name for name in layout.ignored if name.lower().endswith((".csv", ".tsv", ".parquet"))]
        hint = f"; if {tables[0]} says what the photos are, call it labels.csv" if tables else ""
        problems.append(f"it has one class only, `{layout.classes[0]}`: two classes are needed to tell apart{hint}")
    single = [name for name in layout.classes if counts[name] == 1] if layout.splits <= {"train"} else []
    if single:
        photo = next(i.candidate.image_id for i in inspections if not i.reason and i.candidate.class_name in single)
        problems.append(
            f"{_classes(single, 'one photo only')} ({photo}{', ...' if len(single) > 1 else ''}): two are needed, one "
            "to train on and one to test; add photos or remove the class"
        )
    return problems


def _split_problems(
    layout: Layout, inspections: Sequence[Inspection], manifest: Manifest, settings: DataSettings
) -> list[str]:
    left = {item.candidate.split for item in inspections if not item.reason}
    empty = sorted(layout.splits - left)
    problems = [f"the {split} split has no usable photo: add photos or remove its folder" for split in empty]
    for split, classes in _classes_by_split(manifest).items():
        if classes or split in empty:
            continue
        if split == "train":
            problems.append(f"there is no photo to train on: add a train/ folder beside {_listed(layout.splits)}")
        else:
            key = f"data.{split}_fraction: {getattr(settings, f'{split}_fraction')}"
            problems.append(f"the {split} split is empty with {key} in params.yaml: raise it, or add photos")
    return problems


def _training_problems(layout: Layout, manifest: Manifest) -> list[str]:
    """Classes that have photos, but none to train on."""
    present = _classes_by_split(manifest)
    missing = [name for name in layout.classes if present["train"] and name in (present["val"] | present["test"])]
    missing = [name for name in missing if name not in present["train"]]
    if not missing:
        return []
    near = [other for names in near_names(layout.classes) if set(names) & set(missing) for other in names]
    hint = f" (near names: {_listed(near)})" if near else ""
    return [
        f"no usable training photo of {'class' if len(missing) == 1 else f'{len(missing)} classes'} {_listed(missing)}"
        f"{hint}, which other splits hold: add some, or remove the class"
    ]


def _classes_by_split(manifest: Manifest) -> dict[str, set[str]]:
    frame = manifest.frame
    return {split: set(frame.loc[frame["split"] == split, "class_name"]) for split in SPLITS}


def _classes(names: Sequence[str], what: str) -> str:
    if len(names) == 1:
        return f"class `{names[0]}` has {what}"
    return f"{len(names)} classes have {what}: {_listed(names)}"


def _first_reason(layout: Layout, inspections: Sequence[Inspection]) -> str:
    reasons = [(item.candidate.image_id, item.reason) for item in inspections if item.reason]
    reasons = reasons or [(item.file, item.reason) for item in layout.rejected]
    if not reasons:
        return "there is no photo"
    more = f", and {len(reasons) - 1} more files rejected" if len(reasons) > 1 else ""
    return f"{reasons[0][0]}: {reasons[0][1]}{more}"


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    shown = ", ".join(f"`{name}`" for name in ordered[:SHOWN])
    return f"{shown} and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else shown
