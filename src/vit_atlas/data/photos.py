"""Opening photos and masks: the one way in which every stage does it."""

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vit_atlas.errors import AtlasError

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""

EXTENSIONS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "MPO": ("jpg", "jpeg", "mpo"),
    "PNG": ("png",),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "BMP": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
}
"""Formats that are read, with the file extensions that go with them. MPO is what some phones write as .jpg."""

PHOTO_SUFFIXES = frozenset(f".{extension}" for group in EXTENSIONS.values() for extension in group)
"""Suffixes, in lower case, of files that are taken for photos; a file that is named itself may have any name."""

OPENERS = tuple(name for name in EXTENSIONS if name != "MPO")
"""What Pillow is asked to try; its JPEG reader finds MPO by itself."""

ANIMATED = ("GIF", "PNG", "WEBP", "TIFF")
"""Formats whose further frames are other pictures; an MPO's are previews of the same one."""


LARGEST_PHOTO = 500_000_000
"""Pixels above which no stage opens an image, whatever params.yaml says: it would be 2 GB in memory."""

BYTES_PER_PIXEL = 8
"""Of the largest kind of file that is read here, uncompressed 16-bit RGBA."""

LARGEST_EXTRA = 2**24
"""Bytes that a file may have beside its pixels: metadata, previews."""

FOREIGN = {"HEIC": (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "AVIF": (b"avif", b"avis")}
"""Formats that phones and web sites use and that are not read here, with the brands in bytes 8 to 12 of their files."""

FILE_TYPES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


class PhotoError(Exception):
    """Why a file cannot serve as a photo: a short reason without the file's name, and its ``kind`` in a word."""

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class PhotoFacts:
    """What a file turned out to hold: ``width`` and ``height`` in pixels after EXIF rotation, and what was
    converted."""

    width: int
    height: int
    conversions: tuple[str, ...]


def open_photo(path: str | Path) -> Image.Image:
    """Open a photo as 8-bit RGB, upright.

    EXIF rotation is applied, CMYK and palettes are converted, 16-bit samples are scaled to 8 bits, transparency is
    laid over white, and of a still GIF its picture is taken.

    Raises:
        AtlasError: the file is missing or cannot be read as one photo; the message names it and says why.
    """
    try:
        with opened(path) as image:
            return to_rgb(image)
    except PhotoError as error:
        raise AtlasError(f"{path} cannot be read as a photo: {error}") from None


def open_mask(path: str | Path, kind: str, photo_size: tuple[int, int] | None = None) -> np.ndarray:
    """Open a mask as uint8 of shape (height, width): 0 background, 1 object, 255 unlabelled.

    ``trimap`` is Oxford-IIIT Pet's: 1 object, 2 background, 3 the border that counts for neither. In a ``binary``
    mask every value but 0 is object. With ``photo_size`` (width, height) a mask of another size is not even decoded.

    Raises:
        AtlasError: the file is missing or cannot be read as an image, has another size than the photo, or ``kind`` is
            neither of the two.
    """
    try:
        with opened(path) as image:
            if photo_size and image.size != photo_size:
                (width, height), (wide, high) = image.size, photo_size
                raise PhotoError(f"it has {width}x{height} pixels, the photo {wide}x{high}", "another-size")
            values = _mask_values(image)
    except PhotoError as error:
        raise AtlasError(f"{path} cannot be read as a mask: {error}") from None
    if kind == "binary":
        return (values > 0).astype(np.uint8)
    if kind == "trimap":
        table = np.full(256, 255, np.uint8)
        table[[0, 1, 2]] = 0, 1, 0
        return table[values]
    raise AtlasError(f"{path}: a mask is `trimap` or `binary`, not {kind!r}")


@contextmanager
def opened(path: str | Path, max_pixels: int = LARGEST_PHOTO) -> Iterator[Image.Image]:
    """Yield the image file opened but not decoded; any failure inside the block becomes a :class:`PhotoError`.

    Pillow's own limit on pixels is replaced by ``max_pixels``, checked on the header before anything is decoded.

    Raises:
        PhotoError: the file is empty, is no image, is damaged, holds several frames or has too many pixels.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with open_file(path, max_pixels) as handle, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _open_image(handle) as image:
                _check_header(image, max_pixels)
                yield image
    except PhotoError:
        raise
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _explained(error) from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def open_file(path: str | Path, max_pixels: int = LARGEST_PHOTO) -> BufferedReader:
    """Open a file to read, if it can be one of a photo of ``max_pixels``.

    Raises:
        PhotoError: it is missing, cannot be read, is empty or larger than any such photo, or is no file at all: opening
            a named pipe would wait for ever.
    """
    try:
        found = Path(path).stat()
        kind = stat.S_IFMT(found.st_mode)
        if kind != stat.S_IFREG:
            raise PhotoError(f"{FILE_TYPES.get(kind, 'a device')}, not a photo", "not-a-file")
        if not found.st_size:
            raise PhotoError("the file is empty (zero bytes)", "empty")
        if found.st_size > max_pixels * BYTES_PER_PIXEL + LARGEST_EXTRA:
            reason = f"{found.st_size / 1e9:.2f} GB, more than a photo of {max_pixels} pixels has"
            raise PhotoError(reason, "file-too-large")
        return Path(path).open("rb")
    except FileNotFoundError:
        raise PhotoError("no such file", "missing") from None
    except OSError as error:
        raise _explained(error) from None


def looks_like_photo(path: Path) -> bool:
    """Whether a file's suffix is that of a format that is read."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def check_sums(path: str | Path) -> None:
    """Compare the checksums that a PNG carries; decoding alone does not. Other formats have none.

    Raises:
        PhotoError: one is wrong.
    """
    with opened(path) as image:
        if image.format == "PNG":
            image.verify()


def kind_of_file(path: str | Path) -> str:
    """The format that a file's first bytes show, such as JPEG; empty where it is no image that can be read here."""
    try:
        with opened(path) as image:
            return image.format or ""
    except PhotoError:
        return ""


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode ``image`` and return it as upright 8-bit RGB."""
    image.load()
    upright = ImageOps.exif_transpose(image) if orientation(image) != 1 else image
    if upright.mode.startswith("I"):
        return Image.fromarray(_sixteen_to_eight(np.asarray(upright))).convert("RGB")
    if upright.has_transparency_data:
        layered = upright.convert("RGBA")
        paper = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layered).convert("RGB")
    return upright.convert("RGB")


def facts(image: Image.Image, path: str | Path) -> PhotoFacts:
    """Size and conversions of an opened image, from its header."""
    width, height = image.size
    kinds = _mode_conversions(image)  # first: looking for EXIF decodes a PNG, and then its raw mode is gone
    turned = orientation(image)
    if turned in (5, 6, 7, 8):
        width, height = height, width
    if turned != 1:
        kinds.append("exif-rotated")
    form = image.format or ""
    extension = Path(path).suffix.lower().lstrip(".")
    if extension not in EXTENSIONS.get(form, ()):
        kinds.append(f"{form.lower()}-named-{extension or 'nothing'}")
    if form == "GIF":
        kinds.append("gif")
    return PhotoFacts(width, height, tuple(kinds))


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises many kinds of errors, and the picture is still whole
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _open_image(handle: BufferedReader) -> Image.Image:
    try:
        return Image.open(handle, formats=OPENERS)
    except UnidentifiedImageError:
        handle.seek(8)
        brand = handle.read(4)
    for form, brands in FOREIGN.items():
        if brand in brands:
            raise PhotoError(f"a {form} photo, which is not read here: convert it to JPEG", "not-an-image")
    raise PhotoError("not an image that can be read here (JPEG, PNG, WebP, BMP, TIFF, PPM, still GIF)", "not-an-image")


def _check_header(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise PhotoError(f"{width}x{height} pixels, more than data.max_pixels ({max_pixels})", "too-many-pixels")
    frames = getattr(image, "n_frames", 1)
    if image.format in ANIMATED and frames > 1:
        raise PhotoError(f"a {image.format} of {frames} frames, not one photo", "several-frames")
    if image.mode == "F":
        raise PhotoError("floating-point pixels, whose range is unknown", "floating-point")


def _mode_conversions(image: Image.Image) -> list[str]:
    kinds = []
    if image.mode == "CMYK":
        kinds.append("cmyk")
    if _is_sixteen_bit(image):
        kinds.append("16-bit")
    if image.mode in ("P", "PA") and image.format != "GIF":
        kinds.append("palette")
    if image.mode in ("L", "LA", "1", "La"):
        kinds.append("grey")
    if image.has_transparency_data:
        kinds.append("alpha")
    return kinds


def _is_sixteen_bit(image: Image.Image) -> bool:
    """Whether the file stores 16 bits a sample; Pillow decodes 16-bit RGB as 8 bits, and only its raw mode tells."""
    if image.mode.startswith("I"):
        return True
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(raw, str) and ";16" in raw


def _sixteen_to_eight(values: np.ndarray) -> np.ndarray:
    wide = values.clip(0, 65535).astype(np.uint32)
    return ((wide + 128) // 257).astype(np.uint8)


def _mask_values(image: Image.Image) -> np.ndarray:
    """Values of a mask as stored: palette indices stay indices, colours become grey."""
    image.load()
    if image.mode in ("L", "P"):
        return np.asarray(image)
    if image.mode.startswith("I"):
        return (np.asarray(image) != 0).astype(np.uint8) * 255
    return np.asarray(image.convert("L"))


def _explained(error: Exception) -> PhotoError:
    if isinstance(error, MemoryError):
        return PhotoError("too little memory to decode it", "memory")
    if isinstance(error, OSError) and error.errno is not None:
        return PhotoError(f"cannot be read ({error.strerror or error})", "unreadable")
    text = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in text.lower():
        return PhotoError("the file is cut short (truncated)", "truncated")
    return PhotoError(f"damaged ({text[:120]})", "damaged")
