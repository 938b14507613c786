"""Which layout a folder of photos has, found by looking, and the photos it lists.

1. Image folder: ``<class>/*``, ``<split>/<class>/*`` or ``<class>/<split>/*``; photos may lie deeper.
2. The homework's: ``{train,val}/{label}_{id}.jpg``.
3. Oxford-IIIT Pet as published: ``images/``, ``annotations/{trainval,test}.txt``, ``annotations/trimaps/``.
4. A table: ``labels.csv`` (or .tsv, .parquet) with the columns path and label, and maybe split and group.

``label_overrides.csv`` (path and label) beside any of these corrects labels.

Masks are optional: ``masks/<stem>.png`` or ``masks/<path of the photo below the folder>.png``, ``<class>/masks`` beside
``<class>/images``, ``<stem>_mask.png`` beside the photo, or the published trimaps.
"""

from dataclasses import replace
from pathlib import Path

from vit_atlas.data import label_table
from vit_atlas.data.candidates import Layout
from vit_atlas.data.class_folders import class_folder_layout, unknown_layout
from vit_atlas.data.masks import find_masks, take_mask_folders
from vit_atlas.data.overrides import overridden, take_overrides
from vit_atlas.data.oxford import is_oxford, oxford_layout
from vit_atlas.data.tree import Folder, find_table, read_tree
from vit_atlas.errors import AtlasError


def find_layout(root: Path) -> Layout:
    """Look at ``root`` and list its photos, sorted by image id.

    Raises:
        AtlasError: the folder is missing or empty, or has none of the layouts; the message says what was found. Or a
            folder in it cannot be listed.
    """
    if not root.is_dir():
        raise AtlasError(f"{root} is not a folder: put photos there, or run `vit-atlas data stickers` for the sample")
    tree = read_tree(root)
    masks, overrides = take_mask_folders(tree.root), take_overrides(tree.root)
    layout = _layout_of(tree.root)
    if overrides:
        layout = overridden(tree.root, layout, overrides)
    candidates, unused = find_masks(root, layout.candidates, masks)
    return replace(
        layout,
        candidates=tuple(sorted(candidates, key=lambda candidate: candidate.image_id)),
        rejected=tuple(sorted((*layout.rejected, *tree.rejected), key=lambda item: item.file)),
        unused_masks=tuple(unused),
        ignored=tuple(sorted((*layout.ignored, *tree.ignored))),
    )


def _layout_of(root: Folder) -> Layout:
    """List the photos of a folder from which masks were taken out."""
    if table := find_table(root, label_table.NAMES, "labels"):
        return label_table.table_layout(root, table, root.all_files())
    by_name = {folder.name: folder for folder in root.folders}
    if is_oxford(by_name):
        return oxford_layout(root, by_name)
    if not root.folders:
        raise unknown_layout(root)
    return class_folder_layout(root, root.folders)
