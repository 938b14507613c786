"""What a mask means: which of its values are the object, and whether it fits its photo."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vit_atlas.data.photos import opened
from vit_atlas.data.pixels import PhotoError, orientation
from vit_atlas.errors import AtlasError

TRIMAP = np.full(256, 255, np.uint8)
"""Oxford-IIIT Pet's: 1 object, 2 background, 3 the border that counts for neither."""
TRIMAP[[0, 1, 2]] = 0, 1, 0

EXPECTED = "expected white on black, 0 and other numbers, a trimap of 1, 2, 3, colours on black, or transparency"

BLACK, WHITE, BORDER = (0, 0, 0), (255, 255, 255), (224, 224, 192)
"""Colours of the background, of the object, and of what counts for neither in Pascal VOC."""

NEAR = 32
"""Levels of 255 by which compression and smoothed edges change black and white."""

MOST_BETWEEN = 0.15
"""Share of the pixels that may lie between black and white, as edges do."""

MOST_CLASSES = 32
"""Different values up to which they are numbers of classes or things, not shades."""

EQUAL_NEIGHBOURS = 0.4
"""Share of neighbouring pixels of things that are equal where values are numbers of things, those of 2x2 pixels too."""

LARGER = 16
"""Times as many pixels as its photo that a mask may have and still be decoded."""


def open_mask(path: str | Path, kind: str, photo_size: tuple[int, int] | None = None, sha256: str = "") -> np.ndarray:
    """Open a mask as uint8 of shape (height, width): 0 background, 1 object, 255 unlabelled.

    ``trimap`` is Oxford-IIIT Pet's. In a ``binary`` mask white, every number but 0, every colour but black, or what is
    not transparent is the object, whatever the file's mode is. With ``photo_size`` (width, height) a mask of the same
    aspect ratio is scaled to it; ``sha256`` is what prepare knows of the file's bytes.

    Raises:
        AtlasError: the file is missing, has other bytes or cannot be read as an image, its values have no certain
            meaning, it does not fit the photo, or ``kind`` is neither of the two.
    """
    if kind not in ("binary", "trimap"):
        raise AtlasError(f"{path}: a mask is `trimap` or `binary`, not {kind!r}")
    try:
        with opened(path, sha256=sha256) as image:
            if photo_size and image.width * image.height > LARGER * photo_size[0] * photo_size[1]:
                raise _another_size(image.size, photo_size)
            image.load()
            upright = ImageOps.exif_transpose(image) if orientation(image) != 1 else image
            if photo_size and not _fits(upright.size, photo_size):
                raise _another_size(upright.size, photo_size)
            values = _trimap(upright) if kind == "trimap" else _binary(upright, lossy=image.format in ("JPEG", "MPO"))
    except PhotoError as error:
        raise AtlasError(f"{path} cannot be read as a mask: {error}") from None
    if photo_size and upright.size != photo_size:
        return np.asarray(Image.fromarray(values).resize(photo_size, Image.Resampling.NEAREST))
    return values


def _fits(size: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Whether two sizes have one aspect ratio, but for rounding."""
    return size == photo or abs(size[0] * photo[1] - size[1] * photo[0]) < max(*size, *photo)


def _another_size(size: tuple[int, int], photo: tuple[int, int]) -> PhotoError:
    stored = size == photo[::-1]
    hint = ": if it was drawn on the photo as stored, turn it as EXIF turns the photo" if stored else ""
    reason = f"it has {size[0]}x{size[1]} pixels, the photo {photo[0]}x{photo[1]}{hint}"
    return PhotoError(reason, "another-size")


def _trimap(image: Image.Image) -> np.ndarray:
    numbers: np.ndarray = np.asarray(image if image.mode in ("L", "P") else image.convert("L"))
    return np.asarray(TRIMAP[numbers])


def _binary(image: Image.Image, *, lossy: bool) -> np.ndarray:
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            return _not_transparent(rgba[..., :3], rgba[..., 3])
    if image.mode == "P":
        return _palette(image)
    if image.mode.startswith("I"):
        return _numbers(np.asarray(image).astype(np.int64))
    if image.mode in ("L", "LA"):
        return _numbers(np.asarray(image.convert("L")), lossy)
    return _colours(np.asarray(image.convert("RGB")), lossy)


def _numbers(values: np.ndarray, lossy: bool = False) -> np.ndarray:
    """Greys, or numbers of classes and things, which a ``lossy`` file cannot hold."""
    found = [int(value) for value in np.unique(values)]
    if found[-1] > 255 and not any(value % 257 for value in found):  # 8 bits stored in 16
        return _numbers(values // 257, lossy)
    if len(found) == 1:
        return np.full(values.shape, min(found[0], 1), np.uint8)
    if found == [1, 2, 3]:
        return TRIMAP[values]
    if found in ([0, 127, 255], [0, 128, 255]):
        return np.where(values == found[1], 255, values != 0).astype(np.uint8)
    both_ends_blurred = any(value <= NEAR for value in found[1:]) and any(255 - NEAR <= v < 255 for v in found)
    if found[0] == 0 and len(found) <= MOST_CLASSES and not both_ends_blurred and not lossy:
        return (values != 0).astype(np.uint8)
    shades = values if found[-1] <= 255 else values // 257
    if _black_and_white(shades):
        return (shades >= 128).astype(np.uint8)
    if found[0] == 0 and found[-1] < 2 * len(found) + NEAR and not lossy and _numbered(values):
        return (values != 0).astype(np.uint8)
    shown = ", ".join(map(str, found[:4])) + (", ..." if len(found) > 4 else "")
    raise PhotoError(f"its values ({shown}) have no certain meaning: {EXPECTED}", "values")


def _black_and_white(shades: np.ndarray) -> bool:
    """Whether nearly all pixels are black or white, and most of what is not black is white."""
    if not (shades.min() <= NEAR and 255 - NEAR <= shades.max() <= 255):
        return False
    between = np.mean((shades > NEAR) & (shades < 255 - NEAR))
    return bool(between <= MOST_BETWEEN and np.mean(shades[shades > NEAR] >= 255 - NEAR) >= 0.5)


def _numbered(values: np.ndarray) -> bool:
    """Whether many values are numbers of things: neighbours are equal, as they are in no photo, and beside the
    background lies any number, not the darkest shades as around a thing that fades away."""
    pairs = [(values[:, 1:], values[:, :-1]), (values[1:], values[:-1])]
    inside = np.concatenate([(one == other)[(one > 0) & (other > 0)] for one, other in pairs])
    edge = np.concatenate([np.maximum(one, other)[(one > 0) != (other > 0)] for one, other in pairs])
    return bool(len(inside) and inside.mean() >= EQUAL_NEIGHBOURS and np.median(edge) > values.max() / 10)


def _palette(image: Image.Image) -> np.ndarray:
    """Numbers of classes with colours to look at; where those are black and white only, the colours count."""
    numbers, colours = np.asarray(image), np.asarray(image.convert("RGB"))
    found = {int(number): tuple(colours[numbers == number][0].tolist()) for number in np.unique(numbers)}
    if set(found.values()) == {BLACK, WHITE}:
        return (colours[..., 0] == 255).astype(np.uint8)
    if found.get(255) == BORDER and len(found) > 2:
        return np.where(numbers == 255, 255, numbers != 0).astype(np.uint8)
    if 0 not in found and BLACK in found.values():
        return (colours.max(axis=2) > 0).astype(np.uint8)
    return _numbers(numbers)


def _colours(rgb: np.ndarray, lossy: bool) -> np.ndarray:
    if np.ptp(rgb.astype(np.int16), axis=2).max() <= NEAR // 2:
        return _numbers(rgb[..., 1], lossy)
    coded = rgb.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    if lossy or len(np.unique(coded)) > 256 or 0 not in coded:
        raise PhotoError(f"its colours have no certain meaning: {EXPECTED}", "values")
    return np.where((rgb == BORDER).all(axis=2), 255, coded != 0).astype(np.uint8)


def _not_transparent(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What shows is the object; if it is drawn in black and white, only the white."""
    shows = _numbers(alpha)
    seen = {tuple(colour) for colour in np.unique(rgb[shows == 1], axis=0).tolist()}
    if seen == {BLACK, WHITE}:
        shows[rgb[..., 0] == 0] = 0
    return shows
