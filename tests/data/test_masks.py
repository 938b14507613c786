"""Masks as labelling tools and image editors export them: their names, values, colours and sizes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.tiny_settings import tiny
from vit_atlas.data.layouts import find_layout
from vit_atlas.data.mask_values import open_mask
from vit_atlas.data.prepare import prepare
from vit_atlas.errors import AtlasError
from vit_atlas.settings import DataSettings

INSIDE = np.zeros((12, 16), np.uint8)
INSIDE[3:9, 4:12] = 1
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, *([9] * (252 * 3)), 224, 224, 192]


def meaning(image: Image.Image, path: Path, **options: Any) -> np.ndarray:
    image.save(path, **options)
    return open_mask(path, "binary")


def indexed(numbers: np.ndarray, palette: list[int]) -> Image.Image:
    image = Image.frombytes("P", numbers.shape[::-1], numbers.astype(np.uint8).tobytes())
    image.putpalette(palette)
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp", "jpg"])
def test_white_on_black_is_the_object_in_every_format(tmp_path: Path, suffix: str) -> None:
    large = np.kron(INSIDE, np.ones((8, 8), np.uint8))
    options = {"quality": 85} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    for mode in ("L", "RGB"):
        found = meaning(Image.fromarray(large * 255).convert(mode), tmp_path / f"{mode}.{suffix}", **options)
        assert np.array_equal(found, large), mode
        assert found.dtype == np.uint8


GREEN = np.array([0, 200, 0], np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(INSIDE),
        Image.fromarray(INSIDE * 255).convert("1"),
        Image.fromarray(INSIDE.astype(np.uint16) * 65535),
        Image.fromarray(INSIDE.astype(np.uint16) * 7),
        Image.fromarray(INSIDE[..., None] * GREEN),
        Image.fromarray(INSIDE * 255).convert("RGBA"),
        Image.fromarray(np.dstack([*[np.full_like(INSIDE, 90)] * 3, INSIDE * 255]), "RGBA"),
        Image.fromarray(np.dstack([np.zeros_like(INSIDE), INSIDE * 255]), "LA"),
        indexed(INSIDE, VOC),
        indexed(1 - INSIDE, [255, 255, 255, 0, 0, 0]),
        indexed(INSIDE + 1, [9, 9, 9, 0, 0, 0, 255, 255, 255]),
        indexed(INSIDE + 1, [9, 9, 9, 0, 0, 0, 255, 0, 0]),
    ],
    ids=[
        *("numbers", "bits", "16-bit", "numbers of 16 bits", "colours", "opaque", "alpha", "grey alpha", "VOC"),
        *("white first", "black second", "red on black"),
    ],
)
def test_one_mask_in_every_mode(tmp_path: Path, image: Image.Image) -> None:
    assert np.array_equal(meaning(image, tmp_path / "m.png"), INSIDE)


def test_numbers_of_several_classes_are_all_object_and_borders_are_unlabelled(tmp_path: Path) -> None:
    numbers = INSIDE.copy()
    numbers[3, 4:12] = 2
    assert np.array_equal(meaning(Image.fromarray(numbers), tmp_path / "a.png"), INSIDE)
    bordered = np.where(numbers == 2, 255, INSIDE).astype(np.uint8)
    assert np.array_equal(meaning(indexed(bordered, VOC), tmp_path / "b.png"), bordered)
    colours = indexed(bordered, VOC).convert("RGB")
    assert np.array_equal(meaning(colours, tmp_path / "c.png"), bordered)
    matting = np.where(numbers == 2, 128, INSIDE * 255).astype(np.uint8)
    assert np.array_equal(meaning(Image.fromarray(matting), tmp_path / "d.png"), bordered)
    pets = np.where(numbers == 2, 3, 2 - INSIDE).astype(np.uint8)
    assert np.array_equal(meaning(Image.fromarray(pets), tmp_path / "e.png"), bordered)


def test_zero_and_one_beside_255_and_palettes_of_numbers_mean_what_they_did(tmp_path: Path) -> None:
    assert meaning(Image.fromarray(np.array([[0, 1, 255]], np.uint8)), tmp_path / "a.png").tolist() == [[0, 1, 1]]
    palette = [255, 255, 255, 0, 0, 0, 9, 9, 9]
    assert meaning(indexed(np.array([[0, 1, 2]]), palette), tmp_path / "b.png").tolist() == [[0, 1, 1]]
    Image.fromarray(np.array([[1, 2, 3]], np.uint8)).save(tmp_path / "c.png")
    assert open_mask(tmp_path / "c.png", "trimap").tolist() == [[1, 0, 255]]
    with pytest.raises(AtlasError, match="`trimap` or `binary`"):
        open_mask(tmp_path / "c.png", "other")


def test_smooth_edges_are_cut_in_the_middle(tmp_path: Path) -> None:
    smooth = Image.fromarray(np.kron(INSIDE, np.ones((16, 16), np.uint8)) * 255).resize(
        (201, 149), Image.Resampling.LANCZOS
    )
    assert np.array_equal(meaning(smooth, tmp_path / "m.png"), np.asarray(smooth) >= 128)


@pytest.mark.parametrize(("things", "dtype"), [(200, np.uint8), (250, np.uint8), (700, np.uint16), (700, np.int32)])
def test_numbers_of_many_things_are_all_object(tmp_path: Path, things: int, dtype: type) -> None:
    """As programs that segment cells write them, however little of the photo they cover."""
    numbers = np.zeros((150, 150), dtype)
    for number in range(things):
        row, column = divmod(number, 35)
        numbers[10 + 4 * row : 13 + 4 * row, 4 * column : 4 * column + 3] = number + 1
    for suffix in ("tif",) if dtype == np.int32 else ("png", "tif"):
        found = meaning(Image.fromarray(numbers), tmp_path / f"m.{suffix}")
        assert np.array_equal(found, numbers > 0)


@pytest.mark.parametrize("kind", ["fading", "grey photo", "numbers in a JPEG", "colours in a JPEG"])
def test_shades_without_a_certain_border_are_told(tmp_path: Path, kind: str) -> None:
    large = Image.fromarray(np.kron(INSIDE, np.ones((16, 16), np.uint8)))
    image = {
        "fading": large.point(lambda value: value * 255).filter(ImageFilter.GaussianBlur(24)),
        "grey photo": Image.effect_noise(large.size, 200),
        "numbers in a JPEG": large.point(lambda value: value * 38),
        "colours in a JPEG": Image.merge("RGB", [large.point(lambda value: value * 128), large, large]),
    }[kind]
    with pytest.raises(AtlasError, match="no certain meaning: expected white on black"):
        meaning(image, tmp_path / ("m.jpg" if "JPEG" in kind else "m.png"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_photo_is_no_mask(tmp_path: Path, mode: str) -> None:
    with pytest.raises(AtlasError, match=r"m\.png cannot be read as a mask: its .* no certain meaning: expected white"):
        meaning(Image.effect_noise((64, 64), 60).convert(mode).point(lambda value: value // 2 + 60), tmp_path / "m.png")


@pytest.mark.parametrize("size", [(16, 12), (32, 24), (8, 6), (33, 25)])
def test_a_mask_of_the_same_shape_is_scaled_to_its_photo(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(INSIDE * 255).resize(size, Image.Resampling.NEAREST).save(tmp_path / "m.png")
    found = open_mask(tmp_path / "m.png", "binary", (16, 12))
    assert found.shape == (12, 16)
    assert np.mean(found == INSIDE) > 0.9
    with pytest.raises(AtlasError, match=f"it has {size[0]}x{size[1]} pixels, the photo 16x16$"):
        open_mask(tmp_path / "m.png", "binary", (16, 16))


def test_a_mask_with_an_orientation_of_its_own_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(INSIDE * 255).save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(open_mask(tmp_path / "m.png", "binary", (12, 16)), np.rot90(INSIDE, -1))


def save_mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(INSIDE, np.ones((3, 3), np.uint8))[:30, :40] * 255).save(
        buffer, {".bmp": "BMP", ".tif": "TIFF"}.get(path.suffix.lower(), "PNG")
    )
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    "name",
    [
        *("masks/cat/IMG_1.PNG", "masks/cat/img_1.png", "masks/img_1.png", "Masks/CAT/IMG_1.png", "mask/IMG_1.bmp"),
        *("masks/cat/IMG_1_mask.png", "masks/IMG_1-Mask.png", "masks/IMG_1.mask.tif", "masks/cat/IMG_1_seg.png"),
        *("masks/IMG_1_gt.png", "masks/IMG_1_label.png", "masks/cat/IMG_1.JPG.png", "masks/IMG_1.JPG.png"),
        *("SegmentationClass/IMG_1.png", "annotations/cat/IMG_1.png", "annotations/IMG_1_segmentation.png"),
        *("cat/masks/IMG_1.png", "cat/IMG_1_mask.png", "cat/IMG_1.seg.png", "labels/IMG_1.png", "masks/mask_IMG_1.png"),
        *("Ground Truth/IMG_1.png", "cat_masks/IMG_1.png", "PNGMasks/IMG_1_mask.png", "SegmentationClassPNG/IMG_1.png"),
    ],
)
def test_the_mask_is_found_under_its_usual_names(photos: Path, draw: Any, name: str) -> None:
    for photo in ("cat/IMG_1.JPG", "cat/IMG_2.jpg", "dog/1.jpg", "dog/2.jpg"):
        draw(photo)
    save_mask(photos / name)
    layout = find_layout(photos)
    assert layout.classes == ("cat", "dog")
    assert {item.image_id: item.mask for item in layout.candidates if item.mask} == {"cat/IMG_1.JPG": photos / name}
    assert len(layout.candidates) == 4
    assert layout.unused_masks == ()


def test_names_that_differ_in_letter_case_only_keep_their_own(photos: Path, draw: Any) -> None:
    for photo in ("cat/a.jpg", "cat/A.jpg", "dog/1.jpg"):
        draw(photo)
    save_mask(photos / "masks/cat/A.png")
    masks = {item.image_id: item.mask for item in find_layout(photos).candidates}
    assert masks == {"cat/A.jpg": photos / "masks/cat/A.png", "cat/a.jpg": None, "dog/1.jpg": None}


def test_masks_need_not_lie_in_splits(photos: Path, draw: Any) -> None:
    for photo in ("train/cat/1.jpg", "train/dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg"):
        draw(photo)
    save_mask(photos / "masks/cat/1.png")
    masks = {item.image_id: item.mask for item in find_layout(photos).candidates if item.mask}
    assert masks == {"train/cat/1.jpg": photos / "masks/cat/1.png"}


@pytest.mark.parametrize("names", [("with_mask", "without_mask"), ("face_mask", "hat"), ("labels", "tags")])
def test_classes_with_a_masks_name_stay_classes(photos: Path, draw: Any, names: tuple[str, str]) -> None:
    for name in names:
        for number in range(3):
            draw(f"{name}/{number}.jpg")
    assert find_layout(photos).classes == names


def test_drawings_of_masks_stay_a_class(photos: Path) -> None:
    for name in ("face_mask", "hat"):
        for number in range(3):
            save_mask(photos / name / f"{number}.png")
    assert find_layout(photos).classes == ("face_mask", "hat")


def test_photos_with_a_masks_name_stay_photos(photos: Path, draw: Any) -> None:
    for photo in ("cat/1.jpg", "cat/1_mask.jpg", "dog/carnival_mask.jpg", "dog/2.jpg"):
        draw(photo)
    assert len(find_layout(photos).candidates) == 4


def test_prepare_keeps_masks_of_turned_photos_as_they_are_seen_only(photos: Path, draw: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "dog/1.jpg", "dog/2.jpg", "dog/3.jpg"):
        draw(name)
    for name in ("stored", "seen"):
        Image.effect_noise((60, 40), 60).convert("RGB").save(photos / "cat" / f"{name}.jpg", exif=exif)
    (photos / "masks").mkdir()
    Image.fromarray(np.kron(INSIDE, np.ones((5, 5), np.uint8))[:40, :60]).save(photos / "masks" / "stored.png")
    Image.fromarray(np.kron(INSIDE.T, np.ones((5, 5), np.uint8))[:60, :40]).save(photos / "masks" / "seen.png")
    prepared = prepare(photos, tiny(DataSettings))
    (dropped,) = prepared.findings.masks_dropped.itertuples()
    assert dropped.file == "cat/stored.jpg"
    assert "it has 60x40 pixels, the photo 40x60: if it was drawn on the photo as stored" in dropped.reason
    assert prepared.metrics["masks"] == 1
