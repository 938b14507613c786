"""File names made of the names of photos."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath


def safe_stems(image_ids: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """File stems for pictures of these photos: letters, digits, ``.``, ``_`` and ``-`` only, and no two the same.

    A photo keeps its own stem; where two share it, their folders are put in front. Names in ``taken`` are not given.
    """
    short = [_safe(PurePosixPath(image_id).stem) for image_id in image_ids]
    long = [_safe(str(PurePosixPath(image_id).with_suffix(""))) for image_id in image_ids]
    lowered = [stem.lower() for stem in short]
    stems = [name if lowered.count(name.lower()) == 1 else path for name, path in zip(short, long, strict=True)]
    used = set(taken)
    for index, stem in enumerate(stems):
        number = 2
        while stems[index].lower() in used:
            stems[index] = f"{stem}-{number}"
            number += 1
        used.add(stems[index].lower())
    return stems


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "photo"
