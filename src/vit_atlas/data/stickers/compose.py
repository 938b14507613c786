"""Putting cut-outs on backgrounds, with the mask of what stays visible."""

import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vit_atlas.data.stickers.backgrounds import Size, random_background

LARGEST_ZOOM = 4
"""A cut-out is never enlarged more than this: the smallest have 50 pixels."""

SUPERSAMPLING = 3
"""Turning picks nearest pixels of an enlarged copy and shrinks it again: integers only, and smooth all the same."""


@dataclass(frozen=True)
class Placement:
    """How one cut-out goes on a canvas: its longer side in pixels, degrees, mirrored or not, and its centre in
    pixels."""

    side: int
    degrees: int
    mirrored: bool
    centre: tuple[int, int]


@lru_cache(maxsize=512)
def open_cutout(path: Path) -> Image.Image:
    """The cut-out as RGBA, cropped to what is visible. Shared between calls: never change it in place."""
    with Image.open(path) as image:
        cutout = image.convert("RGBA")
    visible = cutout.getchannel("A").point([0] * 128 + [255] * 128).getbbox()
    return cutout.crop(visible)


def transformed(cutout: Image.Image, side: int, degrees: int, mirrored: bool) -> Image.Image:
    """``cutout`` scaled so that its longer side is ``side`` pixels, mirrored and turned; RGBA, cropped to what is
    visible."""
    longest = max(cutout.size)
    width, height = (max(2, value * side // longest) for value in cutout.size)
    image = cutout.convert("RGBa")
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if degrees:
        enlarged = image.resize((width * SUPERSAMPLING, height * SUPERSAMPLING), Image.Resampling.BICUBIC)
        turned = enlarged.rotate(degrees, Image.Resampling.NEAREST, expand=True)
        width, height = (max(2, value // SUPERSAMPLING) for value in turned.size)
        image = turned.resize((width, height), Image.Resampling.BICUBIC)
    else:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    image = image.convert("RGBA")
    return image.crop(image.getchannel("A").point([0] * 128 + [255] * 128).getbbox())


def paste(canvas: Image.Image, cutout: Image.Image, placement: Placement) -> Image.Image:
    """Paste ``cutout`` on ``canvas`` (changed in place); return its mask, L of the canvas's size, 255 where it
    shows."""
    sticker = transformed(cutout, placement.side, placement.degrees, placement.mirrored)
    left = placement.centre[0] - sticker.width // 2
    top = placement.centre[1] - sticker.height // 2
    canvas.paste(sticker.convert("RGB"), (left, top), sticker.getchannel("A"))
    mask = Image.new("L", canvas.size, 0)
    mask.paste(sticker.getchannel("A").point([0] * 128 + [255] * 128), (left, top))
    return mask


def relit(rng: random.Random, image: Image.Image) -> Image.Image:
    """``image`` with more or less contrast (88 to 112 per cent) and a colour cast of up to 10."""
    percent = rng.randint(88, 112)
    tables: list[int] = []
    for _ in range(3):
        change = rng.randint(-10, 10)
        tables += [min(255, max(0, (value - 128) * percent // 100 + 128 + change)) for value in range(256)]
    return image.point(tables)


def occlude(rng: random.Random, canvas: Image.Image, mask: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Cover a part of the object with a piece of another background; return the new canvas and mask.

    The piece is a bar or an ellipse at the object's edge and covers at most about a third of its box.
    """
    box = mask.getbbox()
    if box is None:
        return canvas, mask
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    shape = Image.new("L", canvas.size, 0)
    draw = ImageDraw.Draw(shape)
    if rng.random() < 0.5:
        thickness = max(2, width * rng.randint(8, 18) // 100)
        start = rng.randint(left, max(left, right - thickness))
        slant = rng.randint(-width // 3, width // 3)
        corners = [(start, top - 4), (start + thickness, top - 4)]
        corners += [(start + thickness + slant, bottom + 4), (start + slant, bottom + 4)]
        draw.polygon(corners, fill=255)
    else:
        centre = rng.choice(((left, top), (right, top), (left, bottom), (right, bottom), ((left + right) // 2, bottom)))
        half_x, half_y = width * rng.randint(20, 45) // 100, height * rng.randint(20, 45) // 100
        draw.ellipse((centre[0] - half_x, centre[1] - half_y, centre[0] + half_x, centre[1] + half_y), fill=255)
    covered = Image.composite(random_background(rng, canvas.size), canvas, shape)
    left_over = np.where(np.asarray(shape) > 0, 0, np.asarray(mask)).astype(np.uint8)
    return covered, Image.fromarray(left_over)


def random_size(rng: random.Random) -> Size:
    """A canvas size: landscape, portrait or square, its longer side 256, 288 or 320."""
    side = rng.choice((256, 288, 320))
    numerator, denominator = rng.choice(((3, 4), (3, 4), (4, 5), (1, 1)))
    other = side * numerator // denominator
    return (side, other) if rng.random() < 0.65 else (other, side)
