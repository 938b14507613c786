"""Fifteen kinds of file that prepare must name, and how each is made; the bench spreads them among 100,000 photos."""

import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

MAX_PIXELS = 1_000_000


@dataclass(frozen=True)
class Odd:
    """One kind of file: how to make it at a path, and the word that prepare has for it."""

    make: Callable[[Path], None]
    word: str
    suffix: str = ".jpg"


def jpeg(size: tuple[int, int] = (60, 40)) -> bytes:
    """The bytes of a sound photo; no two are alike."""
    return _saved(Image.effect_noise(size, 60).convert("RGB"), "JPEG", quality=90)


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with the right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def black_png(width: int, height: int) -> bytes:
    """A whole PNG of black pixels: some kilobytes, however large the picture is."""
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _noise() -> Image.Image:
    return Image.effect_noise((60, 40), 60)


def _truncated(path: Path) -> None:
    whole = jpeg()
    path.write_bytes(whole[: len(whole) // 2])


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("<html>404: the photo that you asked for is gone</html>")


def _animated(path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    path.write_bytes(_saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))


def _heic(path: Path) -> None:
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(400))


def _too_many_pixels(path: Path) -> None:
    path.write_bytes(black_png(1200, 1000))


def _one_pixel(path: Path) -> None:
    path.write_bytes(_saved(Image.new("RGB", (1, 1), "white"), "GIF"))


def _wrong_checksum(path: Path) -> None:
    whole = bytearray(_saved(_noise(), "PNG"))
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def _huffman(path: Path) -> None:
    """A Huffman table that promises more codes of one bit than there can be."""
    whole = bytearray(jpeg())
    whole[whole.index(b"\xff\xc4") + 5] = 0xFF
    path.write_bytes(whole)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("was deleted.jpg"))


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _odd_name(path: Path) -> None:
    whole = path.with_suffix(".tmp")
    whole.write_bytes(jpeg())
    os.rename(whole, os.fsencode(path.with_suffix("")) + b"\xff\xfe.jpg")  # noqa: PTH104 (a name that is no text)


def _folder(path: Path) -> None:
    path.mkdir()


def _sparse(path: Path) -> None:
    path.write_bytes(jpeg())
    os.truncate(path, 2**38)


def _png_named_jpg(path: Path) -> None:
    path.write_bytes(_saved(_noise().convert("RGB"), "PNG"))


def _cmyk(path: Path) -> None:
    path.write_bytes(_saved(_noise().convert("CMYK"), "JPEG"))


def _sixteen_bit(path: Path) -> None:
    path.write_bytes(_saved(_noise().convert("I").point(lambda value: value * 257).convert("I;16"), "PNG"))


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(_saved(_noise().convert("RGB"), "JPEG", exif=exif))


BROKEN = {
    "truncated JPEG": Odd(_truncated, "truncated"),
    "zero bytes": Odd(_empty, "empty"),
    "HTML page named .jpg": Odd(_text, "not-an-image"),
    "animated GIF": Odd(_animated, "several-frames", ".gif"),
    "HEIC named .jpg": Odd(_heic, "not-an-image"),
    "too many pixels": Odd(_too_many_pixels, "too-many-pixels", ".png"),
    "single pixel": Odd(_one_pixel, "too-small", ".gif"),
    "PNG with a wrong checksum": Odd(_wrong_checksum, "damaged", ".png"),
    "JPEG with a broken Huffman table": Odd(_huffman, "damaged"),
    "named pipe": Odd(_pipe, "not-a-file"),
    "link to a deleted file": Odd(_dangling, "missing"),
    "link to itself": Odd(_loop, "unreadable"),
    "name that is not UTF-8": Odd(_odd_name, "name-not-utf8"),
    "folder named .jpg": Odd(_folder, "not-a-file"),
    "sparse file of 256 GB": Odd(_sparse, "file-too-large"),
}
"""What prepare leaves out, and the kind that its table of rejected files gives."""

CONVERTED = {
    "PNG named .jpg": Odd(_png_named_jpg, "png-named-jpg"),
    "CMYK": Odd(_cmyk, "cmyk"),
    "16-bit PNG": Odd(_sixteen_bit, "16-bit", ".png"),
    "EXIF rotation": Odd(_rotated, "exif-rotated"),
}
"""What prepare takes, and the conversion that the manifest names."""

COPIED = (_truncated, _text, _animated, _heic, _too_many_pixels, _one_pixel, _wrong_checksum, _huffman)
"""Of these, further copies may be copies: that is faster."""


def place_broken(folder: Path, copies: int) -> dict[str, str]:
    """Put ``copies`` of every kind in ``folder``; return the kind of rejection that prepare must give for each name.

    A name that is no UTF-8 is given with escapes, as prepare's tables have it.
    """
    expected = {}
    for number, odd in enumerate(BROKEN.values()):
        stem = f"broken_{number:02d}"
        for copy in range(copies):
            path = folder / f"{stem}_{copy}{odd.suffix}"
            if copy and odd.make in COPIED:
                shutil.copyfile(folder / f"{stem}_0{odd.suffix}", path)
            else:
                odd.make(path)
            name = path.name if odd.make is not _odd_name else f"{path.stem}\\udcff\\udcfe.jpg"
            expected[name] = odd.word
    return expected
