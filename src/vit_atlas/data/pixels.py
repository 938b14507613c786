"""From an opened image of any mode to upright 8-bit sRGB: orientation, depth, colour profile and transparency."""

import io
from contextlib import suppress
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageOps

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""

BITS_PER_SAMPLE, PHOTOMETRIC, MAX_SAMPLE_VALUE = 258, 262, 281
"""TIFF tags that say how integers are meant."""

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of the samples that cameras, microscopes and scanners store in 16."""

GUESSED = "-by-highest-value"
"""Follows the depth of a photo that does not give its own."""

DARKEST = 63
"""Highest value of 255 up to which 16-bit colour looks like 14 bits or fewer, stored in 16 without being scaled."""

SAME_COLOUR = 3
"""Levels of 255 by which a profile may differ from sRGB and still be one of its many spellings."""

COLOUR_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Modes of Pillow and the colour space that a profile for them names."""


class PhotoError(Exception):
    """Why a file cannot serve as a photo: a short reason without the file's name, and its ``kind`` in a word."""

    def __init__(self, reason: str, kind: str) -> None:
        super().__init__(reason)
        self.kind = kind


def to_rgb(image: Image.Image) -> Image.Image:
    """Decode ``image`` and return it as upright 8-bit sRGB."""
    return convert(image)[0]


def convert(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Decode ``image`` and return it as upright 8-bit sRGB, with a word for everything that was converted.

    Integers of 10 to 16 bits are scaled to 8: by the depth that the file gives (PNG sBIT, TIFF BitsPerSample), or else
    by the smallest usual depth that holds its highest value. A colour profile other than sRGB is applied, a damaged
    one ignored. What is transparent is laid over white.

    Raises:
        PhotoError: the range of its values is unknown.
    """
    kinds = _kinds(image)  # First: looking for EXIF decodes a PNG, and then its raw mode is gone.
    sixteen, declared = _is_sixteen_bit(image), _declared_bits(image)
    turned = orientation(image)
    image.load()
    upright = ImageOps.exif_transpose(image) if orientation(image) != 1 else image
    if upright.mode.startswith("I"):
        upright, depth = _integers(upright, declared, inverted=_tag(image, PHOTOMETRIC) == 0)
        kinds.insert(0, depth)
    elif sixteen:
        _check_bright(upright, declared)
        kinds.insert(0, "16-bit")
    rgb, profiled = _without_profile(upright)
    kinds += ["icc"] * profiled + ["exif-rotated"] * (turned != 1)
    return rgb, kinds


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises many kinds of errors, and the picture is still whole
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _kinds(image: Image.Image) -> list[str]:
    kinds = []
    if image.mode == "CMYK":
        kinds.append("cmyk")
    if image.mode in ("P", "PA") and image.format != "GIF":
        kinds.append("palette")
    if image.mode in ("L", "LA", "1", "La"):
        kinds.append("grey")
    if image.has_transparency_data:
        kinds.append("alpha")
    return kinds


def _is_sixteen_bit(image: Image.Image) -> bool:
    """Whether the file stores 16 bits a sample; Pillow decodes 16-bit RGB as 8 bits, and only its raw mode tells."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return image.mode.startswith("I") or (isinstance(raw, str) and ";16" in raw)


def _declared_bits(image: Image.Image) -> int:
    """The depth of the samples as the file gives it, before it is decoded; 0 where it does not."""
    if image.format == "PPM":  # Pillow scales those by the highest value that the header gives.
        return 16
    if image.format == "PNG" and _is_sixteen_bit(image):
        return _significant_bits(image)
    stored, highest = _tag(image, BITS_PER_SAMPLE), _tag(image, MAX_SAMPLE_VALUE)
    return stored if 8 < stored < 16 else highest.bit_length() if 255 < highest <= 65535 else 0


def _tag(image: Image.Image, number: int) -> int:
    """A TIFF tag's value, the first where it has several; -1 where there is none."""
    value = getattr(image, "tag_v2", {}).get(number, -1)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else -1


def _significant_bits(image: Image.Image) -> int:
    """What a PNG's sBIT says, which Pillow does not read; 0 where there is none."""
    handle = getattr(image, "fp", None)
    if handle is None:
        return 0
    place = handle.tell()
    try:
        handle.seek(8)
        while len(head := handle.read(8)) == 8 and head[4:] != b"IDAT":
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"sBIT":
                return max(handle.read(length), default=0)
            handle.seek(length + 4, io.SEEK_CUR)
        return 0
    finally:
        handle.seek(place)


def _integers(image: Image.Image, declared: int, *, inverted: bool) -> tuple[Image.Image, str]:
    """Scale samples of more than 8 bits to 8; ``inverted`` where 0 is white."""
    values = np.asarray(image).astype(np.int64)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65535:
        raise PhotoError(
            f"integers from {lowest} to {highest}, whose range is unknown: save it with 8 or 16 bits", "unknown-range"
        )
    fitting = next(bits for bits in DEPTHS if highest < 2**bits)
    bits = declared if declared and highest < 2**declared else 16 if declared else fitting
    full = 2**bits - 1
    scaled = ((values * 255 + full // 2) // full).astype(np.uint8)
    word = f"{bits}-bit" if declared or bits == 16 else f"{bits}-bit{GUESSED}"
    return Image.fromarray(255 - scaled if inverted else scaled), word


def _check_bright(image: Image.Image, declared: int) -> None:
    """Refuse 16-bit colour that is black because fewer bits were stored in 16: Pillow keeps the upper 8 only."""
    bands = image.getextrema()
    highest = max(int(band[1]) for band in bands[:3] if isinstance(band, tuple))
    if declared != 16 and 0 < highest <= DARKEST:
        raise PhotoError(
            f"16-bit colour whose highest value is {highest * 256 + 255} of 65535, as where fewer bits were not "
            "scaled: save it with 8 bits",
            "unknown-range",
        )


def _without_profile(image: Image.Image) -> tuple[Image.Image, bool]:
    """``image`` in sRGB over white, and whether its colour profile had to be applied."""
    if image.mode == "La":  # grey that is multiplied by its alpha already, which converts to one other mode only
        image = image.convert("LA")
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode == "LAB":
        colours = ImageCms.applyTransform(image, _lab_to_srgb())
        return (colours if colours else image.convert("RGB")), True
    if image.mode not in COLOUR_SPACES:
        mode = "L" if image.mode in ("LA", "1") else "RGB"
        image = image.convert("RGBA").convert(mode) if alpha else image.convert(mode)
    profile = image.info.get("icc_profile")
    rgb, profiled = _applied(image, profile) if isinstance(profile, bytes) else (_as_rgb(image), False)
    if alpha:
        layer = rgb.convert("RGBA")
        layer.putalpha(alpha)
        rgb = Image.alpha_composite(Image.new("RGBA", rgb.size, (255, 255, 255, 255)), layer).convert("RGB")
    return rgb, profiled


def _applied(image: Image.Image, profile: bytes) -> tuple[Image.Image, bool]:
    """``image`` of mode L, RGB or CMYK in sRGB, and whether that changed its colours."""
    for mode in dict.fromkeys((image.mode, "RGB")):  # Many a grey photo has the profile of the screen.
        if mode == "RGB" and image.mode == "CMYK":
            break
        transform = _transform(profile, mode)
        if transform is not None:
            rgb = ImageCms.applyTransform(image.convert(mode), transform)
            if rgb is not None:
                rgb.info.pop("icc_profile", None)
                return rgb, True
    return _as_rgb(image), False


def _as_rgb(image: Image.Image) -> Image.Image:
    """``image`` in mode RGB; one that has it and was read from a file is not copied: that costs a sixth of decoding."""
    return image if image.mode == "RGB" and image.format in ("JPEG", "PNG") else image.convert("RGB")


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From ``profile`` to sRGB; None where it is damaged, is not for ``mode``, or leaves colours as they are."""
    with suppress(Exception):  # a damaged profile raises nearly anything, and the picture is still whole
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() != COLOUR_SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform if mode == "CMYK" or _changes_colours(transform, mode) else None
    return None


def _changes_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether it changes any of some colours by more than rounding does."""
    steps = np.linspace(0, 255, 9 if mode == "RGB" else 256).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 1, 3) if mode == "RGB" else steps[:, None]
    chart = Image.fromarray(colours)
    changed = ImageCms.applyTransform(chart, transform)
    difference = np.asarray(changed).astype(int) - np.asarray(chart.convert("RGB"))
    return bool(np.abs(difference).max() > SAME_COLOUR)


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
