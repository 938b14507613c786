"""vit-atlas: fine-tune a Vision Transformer on your own photos and see what it looks at.

Importing this package loads neither torch nor transformers: the names of :mod:`vit_atlas.api` are loaded when they are
used first.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vit_atlas.api import (
        Classification,
        caption,
        explain_photos,
        make_map,
        open_classifier,
        open_photo,
        record_attention,
        score_map,
    )

__version__ = "0.2.0"

__all__ = [
    "Classification",
    "caption",
    "explain_photos",
    "make_map",
    "open_classifier",
    "open_photo",
    "record_attention",
    "score_map",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("vit_atlas.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
