"""Pixels are read as they are meant: profile, depth, orientation, transparency, and what else lies in a file."""

import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin

from tests.data.broken_files import chunk
from tests.data.profiles import ADOBE_RGB, DISPLAY_P3, cmyk_profile, grey_profile, rgb_profile
from vit_atlas.data.photos import decode, open_photo, opened
from vit_atlas.errors import AtlasError

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def conversions(content: bytes, name: str = "a.png") -> tuple[str, ...]:
    with opened(content) as image:
        return decode(image, name)[1].conversions


def same(found: Image.Image, expected: Image.Image) -> bool:
    return np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("size", [2_000_000, 20_000_000])
def test_large_metadata_does_not_make_a_sound_file_damaged(size: int) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("XML:com.adobe.xmp", "x" * size, zip=True)
    for content in (saved(PHOTO, icc_profile=os.urandom(10) + bytes(size)), saved(PHOTO, pnginfo=texts)):
        assert same(open_photo(content), PHOTO)
        assert conversions(content) == ()


@pytest.mark.parametrize("kind", ["profile", "texts"])
def test_more_metadata_than_memory_should_hold_is_not_read(kind: str) -> None:
    texts = PngImagePlugin.PngInfo()
    for number in range(6):
        texts.add_text(f"text {number}", "x" * 60_000_000, zip=True)
    content = saved(PHOTO, **({"pnginfo": texts} if kind == "texts" else {"icc_profile": bytes(100_000_000)}))
    assert len(content) < 1_000_000
    assert same(open_photo(content), PHOTO)


def test_threads_open_large_photos_beside_small_ones() -> None:
    def size(content: bytes) -> tuple[int, int]:
        with opened(content) as image:
            return image.size

    contents = [saved(Image.new("1", (20_000, 10_000))), saved(PHOTO)] * 100
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(size, contents)) == [(20_000, 10_000), PHOTO.size] * 100


@pytest.mark.parametrize(
    ("primaries", "expected"), [(ADOBE_RGB, (0, 201, 12)), (DISPLAY_P3, (43, 204, 0))], ids=["Adobe RGB", "Display P3"]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_of_a_wider_profile_become_srgb(primaries: Any, expected: tuple[int, ...], mode: str) -> None:
    image = Image.new("RGB", (8, 6), (100, 200, 50)).convert("RGBA")
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    content = saved(image, icc_profile=rgb_profile(primaries))
    found = open_photo(content)
    assert np.abs(np.asarray(found).reshape(-1, 3).astype(int) - expected).max() <= 2
    assert "icc" in conversions(content)
    assert "icc_profile" not in found.info, "a picture saved from it would be converted twice"


def test_photos_in_srgb_keep_their_values() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image in (PHOTO, PHOTO.convert("L")):
        content = saved(image, icc_profile=profile)
        assert same(open_photo(content), image.convert("RGB"))
        assert "icc" not in conversions(content)


def test_profiles_of_grey_and_of_inks_are_applied() -> None:
    grey = open_photo(saved(Image.new("L", (4, 4), 60), icc_profile=grey_profile(1.0)))
    assert grey.getpixel((0, 0)) == (133, 133, 133)
    inks = np.full((16, 3), 128)
    content = saved(Image.new("CMYK", (4, 4), (90, 20, 200, 0)), "TIFF", icc_profile=cmyk_profile(inks))
    assert open_photo(content).getpixel((0, 0)) == (119, 119, 119)
    assert conversions(content, "a.tif") == ("cmyk", "icc")


@pytest.mark.parametrize("profile", [b"x", os.urandom(500), rgb_profile(ADOBE_RGB)[:200], grey_profile(1.0)])
def test_a_profile_that_is_damaged_or_of_another_space_is_ignored(profile: bytes) -> None:
    assert same(open_photo(saved(PHOTO, icc_profile=profile)), PHOTO)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("form", ["TIFF", "PNG", "JPEG", "WEBP", "AVIF"])
def test_orientation_is_applied_once_in_every_format(form: str, turn: int) -> None:
    coarse = Image.fromarray(np.kron(np.asarray(PHOTO.crop((0, 0, 6, 4))), np.ones((16, 16, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = turn
    content = saved(coarse, form, exif=exif, **({} if form in ("TIFF", "PNG") else {"quality": 95}))
    with opened(content) as image:
        rgb, facts = decode(image, f"a.{form.lower()}")
    coarse.getexif()[0x0112] = turn
    expected = ImageOps.exif_transpose(coarse)
    assert rgb.size == (facts.width, facts.height) == expected.size
    assert np.abs(np.asarray(rgb).astype(int) - np.asarray(expected)).mean() < 12
    assert ("exif-rotated" in facts.conversions) == (turn != 1)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_every_depth_is_scaled_by_its_own(form: str, bits: int) -> None:
    values = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    content = saved(Image.fromarray(values), form)
    assert np.array_equal(np.asarray(open_photo(content))[..., 0], np.round(RAMP * 255))
    assert conversions(content, f"a.{form.lower()}") == ("16-bit" if bits == 16 else f"{bits}-bit-by-highest-value",)


def test_the_depth_that_a_file_tells_counts() -> None:
    dark = np.round(RAMP * 1000).astype(np.uint16)
    content = saved(Image.fromarray(dark))
    told = content[:33] + chunk(b"sBIT", bytes([12])) + content[33:]
    assert np.asarray(open_photo(told)).max() == round(1000 * 255 / 4095)
    assert conversions(told) == ("12-bit",)
    full = content[:33] + chunk(b"sBIT", bytes([16])) + content[33:]
    assert np.asarray(open_photo(full)).max() == 4
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[281] = 4095
    assert np.asarray(open_photo(saved(Image.fromarray(dark), "TIFF", tiffinfo=tags))).max() == 62


def test_white_is_zero_where_a_tiff_says_so() -> None:
    content = bytearray(saved(Image.fromarray(np.array([[0, 65535]], np.uint16)), "TIFF"))
    place = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    content[place] = 0
    assert np.asarray(open_photo(bytes(content)))[0, :, 0].tolist() == [255, 0]


def rgb16_png(values: np.ndarray) -> bytes:
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colour_of_few_bits_in_sixteen_is_told_with_its_highest_value() -> None:
    twelve = np.asarray(PHOTO).astype(np.uint16) * 16
    with pytest.raises(AtlasError, match="16-bit colour whose highest value is 4095 of 65535"):
        open_photo(rgb16_png(twelve))
    assert same(open_photo(rgb16_png(np.asarray(PHOTO).astype(np.uint16) * 257)), PHOTO)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[-1000, 1000]], np.int32), "integers from -1000 to 1000, whose range is unknown"),
        (np.array([[0, 100_000]], np.int32), "integers from 0 to 100000, whose range is unknown"),
        (np.array([[0.0, 1.0]], np.float32), "floating-point pixels, whose range is unknown"),
    ],
)
def test_values_of_unknown_range_are_told(values: np.ndarray, message: str) -> None:
    with pytest.raises(AtlasError, match=message):
        open_photo(saved(Image.fromarray(values), "TIFF"))


def page(image: Image.Image, kind: int) -> Image.Image:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = kind
    image.encoderinfo = {"tiffinfo": tags}
    return image


@pytest.mark.parametrize("first", [True, False])
def test_the_photo_of_a_tiff_with_a_thumbnail_is_taken(first: bool) -> None:
    photo, small = page(PHOTO.copy(), 0), page(PHOTO.resize((10, 8)), 1)
    pages = [photo, small] if first else [small, photo]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], **pages[0].encoderinfo)
    assert same(open_photo(content), PHOTO)


def test_a_tiff_of_several_photos_and_a_raw_file_are_told() -> None:
    with pytest.raises(AtlasError, match="a TIFF of 2 frames, not one photo"):
        open_photo(saved(PHOTO, "TIFF", save_all=True, append_images=[PHOTO.rotate(180)]))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50706] = b"\1\4\0\0"
    with pytest.raises(AtlasError, match="a camera's raw file"):
        open_photo(saved(PHOTO, "TIFF", tiffinfo=tags))


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_formats_of_phones_are_read(form: str, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    smooth = PHOTO.crop((0, 0, 4, 3)).resize((64, 64), Image.Resampling.BICUBIC)
    path = tmp_path / "a.heic"
    path.write_bytes(saved(smooth, form, quality=95))
    assert np.abs(np.asarray(open_photo(path)).astype(int) - np.asarray(smooth)).mean() < 12
    assert conversions(path.read_bytes(), "a.heic") == (("avif-named-heic",) if form == "AVIF" else ())


def test_heic_without_its_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(AtlasError, match="a HEIC photo, which needs pillow-heif"):
        open_photo(b"\0\0\0\x18ftypheic" + bytes(100))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "tRNS of L", "tRNS of RGB"])
def test_what_is_transparent_lies_over_white(mode: str) -> None:
    if mode.startswith("tRNS"):
        image = Image.new(mode.split()[-1], (6, 4), 0)
        content = saved(image, transparency=0 if mode.endswith(" L") else (0, 0, 0))
    else:
        image = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
        content = saved(image.quantize(2) if mode == "P" else image.convert(mode))
    assert np.asarray(open_photo(content)).min() == 255


def test_half_transparent_is_composited_once() -> None:
    image = Image.new("RGBA", (6, 4), (100, 0, 200, 51))
    assert open_photo(saved(image)).getpixel((0, 0)) == (224, 204, 244)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_an_image_that_is_given_stays_as_it_is(mode: str) -> None:
    given = Image.open(io.BytesIO(saved(PHOTO.convert(mode), **({"transparency": 3} if mode == "P" else {}))))
    before = given.convert("RGBA").tobytes()
    found = open_photo(given)
    found.paste((1, 2, 3), (0, 0, 40, 30))
    assert given.convert("RGBA").tobytes() == before


def test_a_path_bytes_a_file_object_and_an_image_give_the_same_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(PHOTO.convert("RGBA"), exif=exif, icc_profile=rgb_profile(ADOBE_RGB))
    path = tmp_path / "a.png"
    path.write_bytes(content)
    expected = open_photo(path)
    assert expected.size == (30, 40)
    with path.open("rb") as handle, Image.open(path) as image:
        sources = (str(path), content, io.BytesIO(content), handle, image)
        assert all(same(open_photo(source), expected) for source in sources)
    with pytest.raises(AtlasError, match="the image cannot be read as a photo: 40x30 pixels, more than"):
        open_photo(content, max_pixels=100)
