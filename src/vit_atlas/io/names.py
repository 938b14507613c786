"""File names made of the names of photos, safe on every system."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

LONGEST_STEM = 96
"""Bytes of an output's stem; what is put before and after it keeps the whole name within 120."""

RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(10))}
)
"""Stems that Windows keeps for devices, whatever suffix follows."""

DIGITS = 10
"""Hexadecimal digits of the hash that a shortened name ends in."""


def safe_stems(image_ids: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """File stems for pictures of these photos: at most :data:`LONGEST_STEM` of letters, digits, ``.``, ``_``, ``-``.

    A photo keeps its own stem; where two share it, their folders are put in front. No two are the same, in any letter
    case; a shortened one ends in a hash of the whole name. Names in ``taken`` are not given.
    """
    short = [_safe(PurePosixPath(image_id).stem) for image_id in image_ids]
    long = [_safe(str(PurePosixPath(image_id).with_suffix(""))) for image_id in image_ids]
    lowered = Counter(stem.lower() for stem in short)
    stems = [name if lowered[name.lower()] == 1 else path for name, path in zip(short, long, strict=True)]
    used = {name.lower() for name in taken}
    counts: Counter[str] = Counter()
    for index, stem in enumerate(stems):
        while stems[index].lower() in used:
            counts[stem.lower()] += 1
            stems[index] = f"{stem}-{counts[stem.lower()] + 1}"
        used.add(stems[index].lower())
    return stems


def _safe(text: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", unicodedata.normalize("NFC", text)).strip("._") or "photo"
    if stem.split(".")[0].lower() in RESERVED:
        stem = f"photo_{stem}"
    if len(stem) <= LONGEST_STEM:
        return stem
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]
    return f"{stem[: LONGEST_STEM - DIGITS - 1]}-{digest}"
