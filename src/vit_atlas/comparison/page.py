"""A page of two results: the numbers with their verdicts, and both maps of the photos that changed, one over the other.

Maps come from what both results hold: of any photo the map of what its head reads, from build/gallery, and of the drawn
photos those of every method, from build/attention. Photos beyond the page's limits are counted, and so are photos that
a result has no map of.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from vit_atlas import paths
from vit_atlas.attention.contrast import difference
from vit_atlas.attention.methods import METHODS
from vit_atlas.comparison import table
from vit_atlas.comparison.compare import ChangedPhoto, Comparison
from vit_atlas.comparison.maps import SavedMaps, in_common
from vit_atlas.comparison.results import MAPS, Result
from vit_atlas.data.photos import open_photo
from vit_atlas.errors import AtlasError
from vit_atlas.figures.attention import small
from vit_atlas.io.arrays import LEVELS, pack_maps, read_arrays
from vit_atlas.io.files import atomic_file
from vit_atlas.report.gallery import read_gallery
from vit_atlas.report.page import render
from vit_atlas.report.payload import blob, plain
from vit_atlas.report.pictures import address

Array = np.ndarray

NEEDED = (paths.GALLERY / "gallery.csv", paths.GALLERY / "gallery.npz")
"""What a result must hold beside the tables, for maps of any photo."""
CHANGED = 48
"""Photos with another answer that are shown."""
MOVED = 12
"""Photos with the same answer that are shown, those whose maps moved most."""
LEAST = 0.02
"""Share of the map in another place below which nobody sees a difference."""
DRAWN = 12
"""Photos shown with every method."""
NAMED = 200
"""Photos with another answer and without maps that are named."""
SIDE = 320
"""Longest side in pixels of a photo that is shown with every method."""


@dataclass(frozen=True)
class Look:
    """What a result's gallery has of a photo."""

    class_name: str
    answer: str
    picture: bytes
    """A JPEG."""
    codes: Array
    """(rows, columns), see :func:`vit_atlas.io.arrays.pack_maps`."""


Looks = Mapping[str, Look]
"""By photo."""


@dataclass(frozen=True)
class Pair:
    """One photo with the maps of both results."""

    image_id: str
    class_name: str
    old: str
    new: str
    """Answers; empty where only maps are known."""
    picture: bytes | None
    """A JPEG."""
    maps: Mapping[str, tuple[Array, Array]]
    """Codes of the old and the new map, by what the method is called."""


def write_page(found: Comparison, old: Result, new: Result, path: Path) -> None:
    """Write the page of a comparison, one file of a few megabytes at most.

    Args:
        found: what the two results were found to differ in.
        old: the results, with :data:`NEEDED` where they have it.
        new: the same.
        path: of the page.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(render_page(found, old, new), encoding="utf-8", errors="replace")


def render_page(found: Comparison, old: Result, new: Result) -> str:
    """Render the page as HTML, see :func:`write_page`."""
    notes = list(found.notes)
    before, after = (_looks(result, notes) for result in (old, new))
    changed = _changed(found.changed, before, after)
    shown = {"changed": changed[:CHANGED], "moved": _moved(before, after), "drawn": _drawn(old, new, after, notes)}
    names = {pair.image_id for pair in shown["changed"]}
    arrays: dict[str, Array] = {}
    cards = {name: [_card(pair, arrays) for pair in pairs] for name, pairs in shown.items()}
    first, others = table.by_weight(found)
    return render(
        "compare.html",
        ("core.js", "board.js", "compare.js"),
        ("compare.css",),
        found=found,
        summary=table.summary(found),
        head=table.HEAD,
        first=[(row.verdict, table.cells(row)) for row in first],
        others=[(row.verdict, table.cells(row)) for row in others],
        legend=list(table.legend(found)) if found.rows else [],
        changes=table.changes(found),
        by_photo=all(result.has(paths.PREDICTIONS) for result in (old, new)),
        cards=cards,
        kinds=list(dict.fromkeys(card["change"] for card in cards["changed"])),
        methods=list(cards["drawn"][0]["maps"]) if cards["drawn"] else [],
        rest=[photo for photo in found.changed if photo.image_id not in names][:NAMED],
        left_out=_left_out(found, len(changed), len(shown["changed"])),
        notes=notes,
        levels=LEVELS,
        maps=plain(blob(arrays)) if arrays else None,
    )


def _looks(result: Result, notes: list[str]) -> dict[str, Look]:
    """What the gallery has of every test photo with a picture; a note where there is no gallery."""
    try:
        photos = read_gallery(result.folder)
        if photos is None:
            notes.append(
                f"{result.name} has no build/gallery here: its maps of photos with another answer are not shown"
            )
            return {}
        maps = read_arrays(result.folder / paths.GALLERY / "gallery.npz", "gallery")["maps"]
    except AtlasError as error:
        notes.append(f"maps of {result.name} are not shown: {error}")
        return {}
    pictured = photos[(photos["thumbnail"] >= 0) & (photos["split"] == "test")]
    columns = (pictured[name] for name in ("image_id", "class_name", "predicted_name", "picture", "thumbnail"))
    return {
        name: Look(class_name, answer, picture, maps[place])
        for name, class_name, answer, picture, place in zip(*columns, strict=True)
    }


def _pair(image_id: str, class_name: str, answers: tuple[str, str], old: Look, new: Look) -> Pair:
    maps = {"what the head reads": (old.codes, new.codes)}
    return Pair(image_id, class_name, *answers, new.picture, maps)


def _changed(photos: Sequence[ChangedPhoto], old: Looks, new: Looks) -> list[Pair]:
    return [
        _pair(one.image_id, one.class_name, (one.old, one.new), old[one.image_id], new[one.image_id])
        for one in photos
        if one.image_id in old and one.image_id in new
    ]


def _moved(old: Looks, new: Looks) -> list[Pair]:
    """Photos with one answer, those whose maps moved most first."""
    pairs = [
        _pair(name, look.class_name, (look.answer, look.answer), old[name], look)
        for name, look in new.items()
        if name in old and old[name].answer == look.answer
    ]
    amounts = {pair.image_id: _amount(*next(iter(pair.maps.values()))) or 0.0 for pair in pairs}
    seen = [pair for pair in pairs if amounts[pair.image_id] >= LEAST]
    return sorted(seen, key=lambda pair: (-amounts[pair.image_id], pair.image_id))[:MOVED]


def _drawn(old: Result, new: Result, looks: Looks, notes: list[str]) -> list[Pair]:
    """The photos that both results drew, with the maps of every method that both have."""
    if not (old.has(MAPS) and new.has(MAPS)):
        return []
    try:
        sides = [SavedMaps.load(result.folder / MAPS) for result in (old, new)]
    except AtlasError as error:
        notes.append(f"maps by method are not shown: {error}")
        return []
    before, after = sides
    photos, methods = in_common(before, after)
    pairs = list[Pair]()
    for image_id in photos[:DRAWN] if methods else ():
        was, now = before.of(image_id), after.of(image_id)
        maps = {METHODS[name].label: (pack_maps(was[name])[0], pack_maps(now[name])[0]) for name in methods}
        look = looks.get(image_id)
        path = new.photos / after.paths[after.image_ids.index(image_id)]
        picture = _jpeg(path) or (look.picture if look else None)
        pairs.append(Pair(image_id, look.class_name if look else "", "", "", picture, maps))
    return pairs


def _jpeg(path: Path) -> bytes | None:
    """A photo as small as it is shown; None where it is not here any more."""
    try:
        photo = small(open_photo(path), SIDE)
    except AtlasError:
        return None
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def _card(pair: Pair, arrays: dict[str, Array]) -> dict[str, Any]:
    """What the page shows of a pair; its maps go to ``arrays`` under the card's number."""
    number = len({name.split(".")[0] for name in arrays})
    for place, sides in enumerate(pair.maps.values()):
        arrays |= {f"{number}.{place}.{side}": codes for side, codes in zip(("old", "new"), sides, strict=True)}
    size = (4, 3)
    if pair.picture:
        with Image.open(io.BytesIO(pair.picture)) as image:
            size = image.size
    change = (
        ChangedPhoto(pair.image_id, pair.class_name, pair.old, pair.new, None).change if pair.old != pair.new else ""
    )
    return {
        "number": number,
        "image_id": pair.image_id,
        "name": PurePosixPath(pair.image_id).name,
        "class_name": pair.class_name,
        "old": pair.old,
        "new": pair.new,
        "change": change,
        "picture": address(pair.picture, "jpeg") if pair.picture else None,
        "width": size[0],
        "height": size[1],
        "maps": {label: _amount(*sides) for label, sides in pair.maps.items()},
    }


def _amount(old: Array, new: Array) -> float | None:
    """Share of the map in another place; None between other grids."""
    if old.shape != new.shape:
        return None
    return difference(*((codes / LEVELS) ** 2 for codes in (old, new)))[1]


def _left_out(found: Comparison, with_maps: int, shown: int) -> str:
    """Say what of the photos with another answer the page does not show; empty where it shows all."""
    count = len(found.changed)
    parts = []
    if with_maps > shown:
        parts.append(f"{with_maps - shown} are left out here, which shows {CHANGED} at most")
    if count > with_maps:
        parts.append(f"{count - with_maps} have no map in one of the results (gallery.photos, gallery.thumbnails)")
    if not parts:
        return ""
    more = (
        f" Below are the names of {NAMED} of them; `vit-atlas compare --json` has all." if count - shown > NAMED else ""
    )
    return f"Of {count} photos with another answer " + " and ".join(parts) + "." + more
