"""Pictures inside the page: embedded, and no larger than a screen needs."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from vit_atlas.figures.style import png_bytes

WIDEST = 1600
"""Pictures are embedded with at most this many pixels across."""
LARGE = 150_000
"""A PNG of more bytes is embedded as WebP instead."""


@dataclass(frozen=True)
class Picture:
    """An embedded picture, its caption, and its size in pixels (so that the page does not jump while it loads)."""

    source: str
    """A data: address."""
    caption: str
    width: int
    height: int


def pictures_in(folder: Path) -> list[Picture]:
    """Embed every PNG of ``folder`` and its subfolders, in the order of their names."""
    return [_embed(path.read_bytes(), path.stem) for path in sorted(folder.rglob("*.png"))]


def picture_of_figure(figure: Figure, name: str) -> Picture:
    """Embed a figure that lies in no file."""
    return _embed(png_bytes(figure), name)


def _embed(content: bytes, name: str) -> Picture:
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        kind = "png"
        if len(content) > LARGE or width > WIDEST:
            shown = image.convert("RGB")
            if width > WIDEST:
                shown = shown.resize((WIDEST, round(height * WIDEST / width)), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            shown.save(buffer, "WEBP", quality=85, method=4)
            kind, content, (width, height) = "webp", buffer.getvalue(), shown.size
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(source, name.replace("_", " "), width, height)
