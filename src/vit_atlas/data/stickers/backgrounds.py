"""Backgrounds: gradients, noise, stripes, tiles and blobs, from integers only.

Every function takes its own :class:`random.Random` and works on integers and Pillow's fixed-point resizing, so one
seed gives the same bytes on every machine.
"""

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Size = tuple[int, int]
"""Width and height in pixels."""

Colour = tuple[int, int, int]


def random_background(rng: random.Random, size: Size) -> Image.Image:
    """One RGB background of ``size`` (width, height) of a kind that ``rng`` chooses."""
    maker = rng.choice(CALM if rng.random() < 0.75 else BUSY)
    image = maker(rng, size)
    if rng.random() < 0.25:
        image = grain(rng, image)
    return image


def random_colour(rng: random.Random) -> Colour:
    """A colour from black to white, often muted: the three values are pulled towards their mean."""
    values = [rng.randrange(256) for _ in range(3)]
    grey = sum(values) // 3
    keep = rng.choice((1, 2, 4, 6))
    red, green, blue = ((value * keep + grey * (8 - keep)) // 8 for value in values)
    return red, green, blue


def gradient(rng: random.Random, size: Size) -> Image.Image:
    """A few colours that flow into one another."""
    columns, rows = rng.choice(((1, 2), (2, 2), (2, 3), (3, 3)))
    small = Image.new("RGB", (columns, rows))
    small.putdata([random_colour(rng) for _ in range(columns * rows)])
    return small.resize(size, Image.Resampling.BICUBIC)


def noise(rng: random.Random, size: Size) -> Image.Image:
    """Cloudy texture between two colours: octaves of random values, each finer and weaker."""
    width, height = size
    field = np.zeros((height, width), np.int64)
    total = 0
    for octave in range(rng.randint(3, 6)):
        cells = 2 << octave
        weight = 64 >> octave
        small = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
        field += weight * np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.int64)
        total += weight
    return _mix(field // total, random_colour(rng), random_colour(rng))


def stripes(rng: random.Random, size: Size) -> Image.Image:
    """Straight stripes of two colours in any direction."""
    width, height = size
    across, down = rng.randint(-8, 8), rng.randint(-8, 8)
    if not (across or down):
        across = 1
    period = rng.randint(60, 400)
    rows, columns = np.mgrid[0:height, 0:width]
    wave = (columns * across + rows * down) // period % 2 * 255
    image = _mix(wave, random_colour(rng), random_colour(rng))
    return image.filter(ImageFilter.BoxBlur(rng.choice((0, 1, 3))))


def tiles(rng: random.Random, size: Size) -> Image.Image:
    """A floor of tiles, each of its own shade of a few colours."""
    columns, rows = rng.randint(2, 7), rng.randint(2, 7)
    palette = [random_colour(rng) for _ in range(rng.randint(2, 4))]
    small = Image.new("RGB", (columns, rows))
    small.putdata([rng.choice(palette) for _ in range(columns * rows)])
    return small.resize(size, Image.Resampling.NEAREST)


def blobs(rng: random.Random, size: Size) -> Image.Image:
    """Soft or sharp ellipses, boxes and lines over a gradient."""
    image = gradient(rng, size)
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(rng.randint(3, 12)):
        centre_x, centre_y = rng.randrange(width), rng.randrange(height)
        half_x, half_y = rng.randint(4, width // 4), rng.randint(4, height // 4)
        box = (centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y)
        shape = rng.choice((draw.ellipse, draw.ellipse, draw.rectangle))
        if rng.random() < 0.2:
            draw.line(box, fill=random_colour(rng), width=rng.randint(2, 10))
        else:
            shape(box, fill=random_colour(rng))
    return image.filter(ImageFilter.BoxBlur(rng.choice((1, 4, 8, 12))))


def grain(rng: random.Random, image: Image.Image) -> Image.Image:
    """Film grain: the same random value added to the three channels of a pixel."""
    width, height = image.size
    strength = rng.randint(6, 24)
    values = np.frombuffer(rng.randbytes(width * height), np.uint8).reshape(height, width, 1).astype(np.int64)
    change = (values - 128) * strength // 128
    return Image.fromarray((np.asarray(image, np.int64) + change).clip(0, 255).astype(np.uint8))


def _mix(field: np.ndarray, first: Colour, second: Colour) -> Image.Image:
    """An RGB image that goes from ``first`` where ``field`` (height, width) is 0 to ``second`` where it is 255."""
    share = field.astype(np.int64)[:, :, None]
    mixed = (np.array(first) * (255 - share) + np.array(second) * share) // 255
    return Image.fromarray(mixed.astype(np.uint8))


CALM = (gradient, noise)
BUSY = (stripes, tiles, blobs)
