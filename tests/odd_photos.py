"""Photos that libraries open in different ways unless one function opens them all."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from tests.data.profiles import DISPLAY_P3, rgb_profile


def write_odd_photos(folder: Path) -> list[str]:
    """Write a transparent PNG, a JPEG turned by EXIF, CMYK, 16 bits of grey, Display P3; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = np.mgrid[0:48, 0:64]
    pixels = np.stack([width * 4, height * 5, 255 - width * 3], axis=-1).astype(np.uint8)
    photo = Image.fromarray(pixels)
    transparent = photo.copy()
    transparent.putalpha(Image.fromarray((height * 5).astype(np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    transparent.save(folder / "transparent.png", icc_profile=profile)
    photo.save(folder / "turned.jpg", quality=95, exif=turned)
    photo.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    Image.fromarray((width * 1000).astype(np.uint16)).save(folder / "deep.png")
    photo.save(folder / "p3.png", icc_profile=rgb_profile(DISPLAY_P3))
    return [str(folder / name) for name in ("transparent.png", "turned.jpg", "cmyk.jpg", "deep.png", "p3.png")]
