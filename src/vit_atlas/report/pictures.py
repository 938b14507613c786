"""Pictures inside the page: embedded, and no larger than a screen needs."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

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


def picture(path: Path, caption: str) -> Picture | None:
    """Embed the PNG at ``path``; None where there is none."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        kind = "png"
        if len(content) > LARGE or width > WIDEST:
            shown = image.convert("RGB")
            if width > WIDEST:
                shown = shown.resize((WIDEST, round(height * WIDEST / width)), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            shown.save(buffer, "WEBP", quality=80, method=4)
            kind, content, (width, height) = "webp", buffer.getvalue(), shown.size
    return Picture(address(content, kind), caption, width, height)


def address(content: bytes, kind: str) -> str:
    """A data: address of an image's bytes."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
