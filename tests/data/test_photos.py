"""Every kind of dirty file opens as the same upright RGB picture, or says why it cannot."""

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vit_atlas.data.photos import decode, kind_of_file, open_photo, opened
from vit_atlas.data.pixels import PhotoError
from vit_atlas.errors import AtlasError

WIDE = np.zeros((30, 40, 3), np.uint8)
WIDE[:, :20] = 200, 40, 40
WIDE[:, 20:] = 40, 40, 200
"""Left half red, right half blue: 40 pixels wide, 30 high."""


def conversions(path: Path) -> tuple[str, ...]:
    with opened(path) as image:
        return decode(image, path)[1].conversions


def test_a_plain_photo_is_opened_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(WIDE).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(open_photo(tmp_path / "a.png")), WIDE)
    assert conversions(tmp_path / "a.png") == ()


def test_exif_rotation_is_applied_and_the_size_is_the_upright_one(tmp_path: Path) -> None:
    image = Image.fromarray(WIDE)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = open_photo(tmp_path / "turned.jpg")
    assert upright.size == (30, 40)
    top, bottom = np.asarray(upright)[5, 15], np.asarray(upright)[35, 15]
    assert top[0] > top[2]
    assert bottom[2] > bottom[0]
    with opened(tmp_path / "turned.jpg") as opened_image:
        _, found = decode(opened_image, "turned.jpg")
    assert (found.width, found.height, found.conversions) == (30, 40, ("exif-rotated",))


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    Image.fromarray(WIDE).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    red = np.asarray(open_photo(tmp_path / "print.jpg"))[15, 5]
    assert red[0] > 150
    assert red[2] < 90
    assert conversions(tmp_path / "print.jpg") == ("cmyk",)


def test_16_bit_grey_is_scaled_not_cut_off(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    values = np.asarray(open_photo(tmp_path / "deep.png"))[..., 0].ravel()
    assert np.array_equal(values, np.arange(256))
    assert conversions(tmp_path / "deep.png") == ("16-bit",)


def test_16_bit_colour_is_converted_and_told(tmp_path: Path) -> None:
    write_rgb16_png(tmp_path / "deep.png", WIDE.astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(open_photo(tmp_path / "deep.png")), WIDE)
    assert conversions(tmp_path / "deep.png") == ("16-bit",)


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "glass.png")
    assert np.asarray(open_photo(tmp_path / "glass.png")).min() == 255
    assert conversions(tmp_path / "glass.png") == ("alpha",)


def test_palettes_and_grey_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(WIDE).quantize(4).save(tmp_path / "palette.png")
    Image.fromarray(WIDE).convert("L").save(tmp_path / "grey.jpg")
    assert open_photo(tmp_path / "palette.png").mode == "RGB"
    assert open_photo(tmp_path / "grey.jpg").mode == "RGB"
    assert conversions(tmp_path / "palette.png") == ("palette",)
    assert conversions(tmp_path / "grey.jpg") == ("grey",)


def test_a_png_named_jpg_is_opened_and_told(tmp_path: Path) -> None:
    Image.fromarray(WIDE).save(tmp_path / "liar.jpg", format="PNG")
    assert np.array_equal(np.asarray(open_photo(tmp_path / "liar.jpg")), WIDE)
    assert conversions(tmp_path / "liar.jpg") == ("png-named-jpg",)
    assert kind_of_file(tmp_path / "liar.jpg") == "PNG"


def test_a_still_gif_is_a_photo_and_an_animated_one_is_not(tmp_path: Path) -> None:
    frames = [Image.new("P", (8, 8), colour) for colour in (1, 2)]
    frames[0].save(tmp_path / "still.gif")
    Image.new("RGB", (8, 8), "red").save(
        tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")]
    )
    assert open_photo(tmp_path / "still.gif").size == (8, 8)
    assert "gif" in conversions(tmp_path / "still.gif")
    with pytest.raises(AtlasError, match=r"moving\.gif cannot be read as a photo: a GIF of 2 frames, not one photo"):
        open_photo(tmp_path / "moving.gif")


def test_a_phones_mpo_is_a_photo_for_its_first_frame(tmp_path: Path) -> None:
    second = Image.new("RGB", (40, 30), "green")
    Image.fromarray(WIDE).save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second], quality=95)
    with Image.open(tmp_path / "phone.jpg") as image:
        assert image.format == "MPO"
    red = np.asarray(open_photo(tmp_path / "phone.jpg"))[15, 5]
    assert red[0] > 150
    assert conversions(tmp_path / "phone.jpg") == ()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_file_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.effect_noise((200, 200), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AtlasError, match=rf"cut\.{suffix} cannot be read as a photo: .*truncated"):
        open_photo(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "zero bytes"), (b"hello, I am a text", "not an image"), (b"\xff\xd8\xff\xe0 nonsense", "")],
)
def test_what_is_no_photo_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(AtlasError, match=rf"a\.jpg cannot be read as a photo: .*{message}"):
        open_photo(tmp_path / "a.jpg")
    with pytest.raises(AtlasError, match="no such file"):
        open_photo(tmp_path / "b.jpg")


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    with (
        pytest.raises(PhotoError, match=r"60000x60000 pixels, more than data\.max_pixels \(1000\)"),
        opened(tmp_path / "bomb.png", max_pixels=1000),
    ):
        pass


def test_random_damage_never_raises_anything_but_a_clear_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "webp", "gif", "tiff", "bmp"):
        path = tmp_path / f"whole.{suffix}"
        Image.fromarray(WIDE).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 6)] = rng.integers(0, 256, 6)
            (tmp_path / f"damaged.{suffix}").write_bytes(damaged[: rng.integers(1, len(whole) + 1)].tobytes())
            with contextlib.suppress(AtlasError):
                assert open_photo(tmp_path / f"damaged.{suffix}").mode == "RGB"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def write_rgb16_png(path: Path, values: np.ndarray) -> None:
    """A 16-bit RGB PNG, which Pillow reads but cannot write; ``values`` is uint16 (height, width, 3)."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
