"""Maps of the same photos in two results, and where they differ."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vit_atlas.attention.methods import without_baselines
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.figures.differences import draw_difference
from vit_atlas.figures.style import save
from vit_atlas.io.arrays import read_arrays, write_arrays
from vit_atlas.io.files import atomic_folder
from vit_atlas.io.names import safe_stems
from vit_atlas.pictures.changes import pair_up

Array = np.ndarray


@dataclass(frozen=True)
class SavedMaps:
    """Maps of the drawn photos, as build/attention/maps.npz holds them."""

    image_ids: list[str]
    paths: list[str]
    methods: list[str]
    maps: Array
    """(photos, methods, rows, columns)."""

    def save(self, path: str | Path) -> None:
        """Write the arrays ``image_ids``, ``paths``, ``methods`` and ``maps`` atomically."""
        write_arrays(path, {name: np.array(values) for name, values in vars(self).items()})

    @classmethod
    def load(cls, path: str | Path) -> "SavedMaps":
        """Read what :meth:`save` wrote.

        Raises:
            AtlasError: the file is missing or is not such a file.
        """
        arrays = read_arrays(path, "attn-viz")
        if not {"image_ids", "paths", "methods", "maps"} <= arrays.keys():
            raise AtlasError(f"{path} does not hold saved maps: run `dvc repro --force attn-viz`")
        names = {name: arrays[name].tolist() for name in ("image_ids", "paths", "methods")}
        return cls(**names, maps=arrays["maps"])

    def of(self, image_id: str) -> dict[str, Array]:
        """Take the maps of one photo, each (rows, columns), by method."""
        return dict(zip(self.methods, self.maps[self.image_ids.index(image_id)], strict=True))


def in_common(old: SavedMaps, new: SavedMaps) -> tuple[list[str], list[str]]:
    """Name the photos and the methods that both results have; baselines, and methods that are gone, are left out."""
    photos = [image_id for image_id in new.image_ids if image_id in old.image_ids]
    return photos, [name for name in new.methods if name in old.methods and name in without_baselines()]


def draw_differences(
    old: SavedMaps, new: SavedMaps, folder: str | Path, photos_in: Path = Path()
) -> tuple[dict[str, float], dict[str, str]]:
    """Draw every photo that both results have, with each common method's old map, new map and difference.

    Args:
        old: the one result.
        new: the other.
        folder: where the pictures go.
        photos_in: the folder that the paths of ``new`` are relative to. A photo that is not there is not drawn.

    Returns:
        Mean difference (0 to 1) over the photos, by method; and the picture's file name of each photo that is drawn.

    Raises:
        AtlasError: the results have no photo, no method or no grid in common.
    """
    photos, methods = in_common(old, new)
    if not photos or not methods:
        raise AtlasError(
            "the two results share no photo or no method: name the same photos in attention.photos for both"
        )
    if old.maps.shape[2:] != new.maps.shape[2:]:
        raise AtlasError(
            f"the two results have grids of {old.maps.shape[2]}x{old.maps.shape[3]} and {new.maps.shape[2]}x"
            f"{new.maps.shape[3]} patches, which cannot be subtracted: compare results with one model.image_size"
        )
    totals: dict[str, list[float]] = {name: [] for name in methods}
    drawn = {}
    for image_id in photos:
        before, after = ({name: result.of(image_id)[name] for name in methods} for result in (old, new))
        changes = pair_up(before, after)
        for name, change in zip(methods, changes, strict=True):
            totals[name].append(change.amount)
        with suppress(AtlasError):
            photo = open_photo(photos_in / new.paths[new.image_ids.index(image_id)])
            drawn[image_id] = photo, changes
    pictures = {name: f"{place:02d}_{safe_stems([name])[0]}.png" for place, name in enumerate(drawn)}
    if drawn:
        with atomic_folder(folder) as temporary:
            for image_id, (photo, changes) in drawn.items():
                title = f"{Path(image_id).name}: maps in two results"
                save(draw_difference(photo, title, changes), temporary / pictures[image_id])
    return {name: float(np.mean(amounts)) for name, amounts in totals.items()}, pictures
