"""Opening photos: the one way in which every stage does it."""

import hashlib
import stat
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from vit_atlas.data.pixels import PHOTOMETRIC, PhotoError, convert, to_rgb
from vit_atlas.errors import AtlasError

Source = str | Path | bytes | BinaryIO | Image.Image
"""Where a photo comes from."""

EXTENSIONS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "MPO": ("jpg", "jpeg", "mpo"),
    "PNG": ("png",),
    "GIF": ("gif",),
    "WEBP": ("webp",),
    "BMP": ("bmp", "dib"),
    "TIFF": ("tif", "tiff"),
    "PPM": ("ppm", "pgm", "pbm", "pnm"),
    "AVIF": ("avif",),
    "HEIF": ("heic", "heif", "hif"),
}
"""Formats that are read, with the file extensions that go with them. MPO is what some phones write as .jpg; HEIF needs
the extra `heic`."""

PHOTO_SUFFIXES = frozenset(f".{extension}" for group in EXTENSIONS.values() for extension in group)
"""Suffixes, in lower case, of files that are taken for photos; a file that is named itself may have any name."""

OPENERS = tuple(name for name in EXTENSIONS if name not in ("MPO", "HEIF"))
"""What Pillow is asked to try; its JPEG reader finds MPO by itself."""

ANIMATED = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
"""Formats whose further frames are other pictures; those of MPO and HEIF are previews of the same one."""

LARGEST_PHOTO = 500_000_000
"""Pixels above which no stage opens an image, whatever params.yaml says: it would be 2 GB in memory."""

BYTES_PER_PIXEL = 8
"""Of the largest kind of file that is read here, uncompressed 16-bit RGBA."""

LARGEST_EXTRA = 2**28
"""Bytes that a file may have beside its pixels: metadata, previews, a short film."""

# Pillow's limit would be met before the header can be told; a model that is served opens photos in many threads, so it
# is not exchanged for each.
Image.MAX_IMAGE_PIXELS = None
# By default Pillow calls a PNG damaged that holds 1 MB of profile or text; a limit there must be, for it is compressed.
PngImagePlugin.MAX_TEXT_CHUNK = 2**26
PngImagePlugin.MAX_TEXT_MEMORY = 2**28

METADATA = (b"iCCP", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a PNG that may be larger than its pixels."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
"""Bytes 8 to 12 of the files that phones write."""

SUBFILE, SUB_FOLDERS, RAW_PHOTO, COLOUR_FILTER = 254, 330, 50706, (32803, 34892)
"""TIFF tags: what a page is (bit 0 a smaller copy, bit 2 a mask), where more pages are, the mark of DNG, and the
photometric values of what cameras store before colours are computed."""

FILE_TYPES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


@dataclass(frozen=True)
class PhotoFacts:
    """What a file turned out to hold: ``width`` and ``height`` in pixels after EXIF rotation, and what was
    converted."""

    width: int
    height: int
    conversions: tuple[str, ...]


def open_photo(
    source: Source, max_pixels: int = LARGEST_PHOTO, called: str | None = None, sha256: str = ""
) -> Image.Image:
    """Open a photo as upright 8-bit sRGB: the same pixels for training, evaluation, explanations and the served model.

    What is converted is told by :func:`vit_atlas.data.pixels.convert`.

    Args:
        source: the path of a file, its bytes, a file object, or an image that Pillow has opened.
        max_pixels: larger photos are not decoded.
        called: how messages call the photo; None is its path.
        sha256: what prepare knows of the bytes of a file; empty where nothing is known.

    Raises:
        AtlasError: it is missing, has other bytes or cannot be read as one photo; the message names it and says why.
    """
    try:
        with opened(source, max_pixels, sha256) as image:
            rgb = to_rgb(image)
            return rgb.copy() if rgb is source else rgb
    except PhotoError as error:
        name = called or (source if isinstance(source, str | Path) else "the image")
        raise AtlasError(f"{name} cannot be read as a photo: {error}") from None


@contextmanager
def opened(source: Source, max_pixels: int = LARGEST_PHOTO, sha256: str = "") -> Iterator[Image.Image]:
    """Yield the image opened but not decoded; any failure inside the block becomes a :class:`PhotoError`.

    Pillow's own limit on pixels is replaced by ``max_pixels``, checked on the header before anything is decoded.

    Raises:
        PhotoError: the file is empty, is no image, is damaged, holds several frames, has too many pixels, or its bytes
            have another hash than ``sha256``, where that is known.
    """
    try:
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            image = source if isinstance(source, Image.Image) else _open_image(stack, source, max_pixels, sha256)
            _check_header(image, max_pixels)
            yield image
    except PhotoError:
        raise
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise _explained(error) from None


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


def decode(image: Image.Image, path: str | Path) -> tuple[Image.Image, PhotoFacts]:
    """The pixels of an opened image as upright 8-bit sRGB, and what was converted.

    Raises:
        PhotoError: the range of its values is unknown.
    """
    form, extension = image.format or "", Path(path).suffix.lower().lstrip(".")
    rgb, kinds = convert(image)
    if extension not in EXTENSIONS.get(form, ()):
        kinds.append(f"{form.lower()}-named-{extension or 'nothing'}")
    if form == "GIF":
        kinds.append("gif")
    return rgb, PhotoFacts(*rgb.size, tuple(kinds))


def reader_versions() -> str:
    """What reads the formats here; another version may read what this one cannot."""
    try:
        return f"Pillow {PIL.__version__}, pillow-heif {version('pillow-heif')}"
    except PackageNotFoundError:
        return f"Pillow {PIL.__version__}"


def _open_image(stack: ExitStack, source: str | Path | bytes | BinaryIO, max_pixels: int, sha256: str) -> Image.Image:
    if isinstance(source, str | Path):
        file = stack.enter_context(open_file(source, max_pixels))
        if sha256 and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise PhotoError("it has changed since `prepare` read it: run `dvc repro` again", "changed")
        file.seek(0)
        handle: BinaryIO = file
    else:
        handle = BytesIO(source) if isinstance(source, bytes) else source
    start = handle.read(12)
    handle.seek(0)
    formats = OPENERS
    if start[4:8] == b"ftyp" and start[8:] in HEIF_BRANDS and not _is_avif(handle):
        formats = ("HEIF",)
        try:
            import_module("pillow_heif").register_heif_opener()
        except ImportError:
            reason = "a HEIC photo, which needs pillow-heif: `pip install pillow-heif`, or convert it to JPEG"
            raise PhotoError(reason, "not-an-image") from None
    try:
        return stack.enter_context(Image.open(handle, formats=formats))
    except ValueError:  # so much metadata in a PNG that Pillow stops reading
        if start[1:4] != b"PNG":
            raise
        return stack.enter_context(Image.open(_without_metadata(handle), formats=("PNG",)))
    except UnidentifiedImageError:
        reason = "not an image that can be read here (JPEG, PNG, WebP, BMP, TIFF, PPM, AVIF, HEIC, still GIF)"
        raise PhotoError(reason, "not-an-image") from None


def _without_metadata(handle: BinaryIO) -> BytesIO:
    """A PNG without its profile and texts: pixels never depend on the latter."""
    handle.seek(0)
    kept = BytesIO()
    kept.write(handle.read(8))
    while len(head := handle.read(8)) == 8:
        body = handle.read(int.from_bytes(head[:4], "big") + 4)
        if head[4:] not in METADATA:
            kept.write(head + body)
    kept.seek(0)
    return kept


def _is_avif(handle: BinaryIO) -> bool:
    """Whether a file of a common brand (mif1) names AVIF among the compatible ones."""
    size = int.from_bytes(handle.read(4), "big")
    brands = handle.read(min(size, 256))[4:]
    handle.seek(0)
    return b"avif" in brands


def _check_header(image: Image.Image, max_pixels: int) -> None:
    if image.format == "TIFF":
        _choose_page(image)
    elif image.format in ANIMATED and (frames := getattr(image, "n_frames", 1)) > 1:
        raise PhotoError(f"a {image.format} of {frames} frames, not one photo", "several-frames")
    width, height = image.size
    if width * height > max_pixels:
        limit = f"data.max_pixels ({max_pixels})" if max_pixels != LARGEST_PHOTO else f"{max_pixels}, the most allowed"
        raise PhotoError(f"{width}x{height} pixels, more than {limit}", "too-many-pixels")
    if image.mode == "F":
        reason = "floating-point pixels, whose range is unknown: save it with 8 or 16 bits"
        raise PhotoError(reason, "floating-point")


def _choose_page(image: Image.Image) -> None:
    """Go to the photo of a TIFF, beside which smaller copies and masks may lie.

    Raises:
        PhotoError: it holds several photos, or is a camera's raw file, of which a preview only can be read.
    """
    pages = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        tags = getattr(image, "tag_v2", {})
        if RAW_PHOTO in tags or tags.get(PHOTOMETRIC) in COLOUR_FILTER:
            raise PhotoError("a camera's raw file: develop it and save it as JPEG or TIFF", "raw-photo")
        copies = int(tags.get(SUBFILE, 0)) & 5
        if copies and SUB_FOLDERS in tags:
            raise PhotoError("a camera's raw file: develop it and save it as JPEG or TIFF", "raw-photo")
        pages += [] if copies else [number]
    if len(pages) > 1:
        raise PhotoError(f"a TIFF of {len(pages)} frames, not one photo", "several-frames")
    image.seek(pages[0] if pages else 0)


def _explained(error: Exception) -> PhotoError:
    if isinstance(error, MemoryError):
        return PhotoError("too little memory to decode it", "memory")
    if isinstance(error, OSError) and error.errno is not None:
        return PhotoError(f"cannot be read ({error.strerror or error})", "unreadable")
    text = " ".join(str(error).split()) or type(error).__name__
    if "truncated" in text.lower():
        return PhotoError("the file is cut short (truncated)", "truncated")
    return PhotoError(f"damaged ({text[:120]})", "damaged")
