"""The manifest: one row a photo, written by prepare and read by every later stage, which sees it as photos."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vit_atlas.data.mask_values import open_mask
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import CLASSES, MANIFEST, MASKS


@dataclass(frozen=True)
class Photo:
    """One usable photo of data/classification."""

    image_id: str
    """Its path relative to data/classification: its name in every table."""
    path: str
    """Its path relative to the project's root."""
    split: str
    """`train`, `val` or `test`."""
    label: int
    """Index of its class among the class names."""
    class_name: str
    """Its class."""
    width: int
    """Pixels, after EXIF rotation."""
    height: int
    """Pixels, after EXIF rotation."""
    mask: str
    """Path of its mask relative to the project's root; empty where it has none, or masks were not read."""
    mask_kind: str
    """`trimap` or `binary`; empty without a mask."""
    sha256: str
    """Hash of the file's bytes."""
    conversions: str
    """What is converted when it is opened, such as `exif-rotated`, joined by semicolons."""
    mask_sha256: str
    """Hash of the mask's bytes; empty without a mask."""

    def open(self) -> Image.Image:
        """Open it as upright 8-bit RGB.

        Raises:
            AtlasError: the file is missing, is not the one that prepare read, or cannot be read as one photo.
        """
        return open_photo(self.path, sha256=self.sha256)

    def open_mask(self) -> np.ndarray:
        """Open its mask as uint8 (height, width): 0 background, 1 object, 255 unlabelled.

        Raises:
            AtlasError: it has none, or the file is missing, is not the one that prepare read, or cannot be read.
        """
        if not self.mask:
            raise AtlasError(f"{self.path} has no mask")
        return open_mask(self.mask, self.mask_kind, (self.width, self.height), self.mask_sha256)

    def holds_patch(self, patch: tuple[int, int]) -> bool:
        """Whether it is at least one patch (height, width) of pixels: a map of less means nothing."""
        return self.height >= patch[0] and self.width >= patch[1]


COLUMNS = tuple(Photo.__annotations__)
INTEGER_COLUMNS = ("label", "width", "height")
MASK_COLUMNS = ("mask", "mask_kind", "mask_sha256")
"""Those of build/prepared/masks.csv; all others are those of the manifest's file."""


class Manifest:
    """Photos in a fixed order. Iterating gives :class:`Photo`; ``frame`` is the table behind it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """Wrap a table with :data:`COLUMNS`: text as str (empty, never NaN), label and sizes as int."""
        self.frame = frame.reset_index(drop=True)

    @classmethod
    def read(cls, path: str | Path = MANIFEST, masks: bool = False) -> "Manifest":
        """Read what prepare wrote; ``masks`` are in a file beside it, and without them no photo seems to have one.

        Raises:
            AtlasError: a file is missing, is no table, or lacks columns.
        """
        frame = _table(Path(path), [name for name in COLUMNS if name not in MASK_COLUMNS])
        frame = frame.astype(dict.fromkeys(INTEGER_COLUMNS, int))
        known = pd.DataFrame(columns=["image_id", *MASK_COLUMNS], dtype=str)
        if masks:
            known = _table(Path(path).with_name(MASKS.name), ["image_id", *MASK_COLUMNS])
        frame = frame.join(known.set_index("image_id")[list(MASK_COLUMNS)], on="image_id")
        return cls(frame.fillna(dict.fromkeys(MASK_COLUMNS, ""))[list(COLUMNS)])

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Photo]:
        columns = [self.frame[name].tolist() for name in COLUMNS]
        return (Photo(*values) for values in zip(*columns, strict=True))

    def __getitem__(self, index: int) -> Photo:
        return next(iter(Manifest(self.frame.iloc[[index]])))

    @property
    def labels(self) -> np.ndarray:
        """Labels (photos,) as int64."""
        return self.frame["label"].to_numpy().astype(np.int64)

    @property
    def paths(self) -> list[str]:
        """Paths relative to the project's root."""
        return self.frame["path"].tolist()

    @property
    def image_ids(self) -> list[str]:
        """Names, see :attr:`Photo.image_id`."""
        return self.frame["image_id"].tolist()

    def where(self, kept: Iterable[bool] | pd.Series) -> "Manifest":
        """Keep the photos for which ``kept`` (photos,) is true."""
        return Manifest(self.frame[np.asarray(list(kept), dtype=bool)])

    def split(self, name: str) -> "Manifest":
        """Take the photos of one split; there may be none."""
        return self.where(self.frame["split"] == name)

    def require(self, name: str) -> "Manifest":
        """Take the photos of a split that must not be empty.

        Raises:
            AtlasError: there is none.
        """
        photos = self.split(name)
        if not len(photos):
            raise AtlasError(f"{MANIFEST} lists no photo of the split `{name}`: run `dvc repro prepare` again")
        return photos

    def with_masks(self) -> "Manifest":
        """Take the photos that have a mask."""
        return self.where(self.frame["mask"] != "")

    def find(self, image_ids: Iterable[str]) -> "Manifest":
        """Take the named photos, in the order of their names.

        Raises:
            AtlasError: there is no photo of that name; near names are told.
        """
        places = {name: place for place, name in enumerate(self.image_ids)}
        wanted = list(image_ids)
        for name in wanted:
            if name not in places:
                near = get_close_matches(name, places, n=3)
                hint = f"did you mean {' or '.join(near)}?" if near else "see the column image_id"
                raise AtlasError(f"there is no photo named {name} in {MANIFEST}: {hint}")
        return Manifest(self.frame.iloc[[places[name] for name in wanted]])

    def write(self, path: str | Path = MANIFEST) -> None:
        """Write the table, and that of the masks beside it, with the columns of the contract, in their order."""
        tables = {
            Path(path): self.frame[[name for name in COLUMNS if name not in MASK_COLUMNS]],
            Path(path).with_name(MASKS.name): self.with_masks().frame[["image_id", *MASK_COLUMNS]],
        }
        for target, table in tables.items():
            write_csv(target, table)


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro prepare` first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise AtlasError(f"{path} is not a readable table ({error}): delete it and run `dvc repro prepare`") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AtlasError(f"{path} lacks the columns {', '.join(missing)}: delete it and run `dvc repro prepare`")
    return frame


def read_classes(path: str | Path = CLASSES) -> list[str]:
    """Read the class names; the index of a name is its label.

    Raises:
        AtlasError: the file is missing or is not a list of names.
    """
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro prepare` first") from None
    except json.JSONDecodeError as error:
        raise AtlasError(f"{path} is not valid JSON ({error}): delete it and run `dvc repro prepare`") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AtlasError(f"{path} must be a JSON list of class names: delete it and run `dvc repro prepare`")
    return names
