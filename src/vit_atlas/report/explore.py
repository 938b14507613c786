"""The explorers' data: attention of photos, similarities of positions, words of captions; None where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vit_atlas import paths
from vit_atlas.attention.methods import METHODS
from vit_atlas.estimates import Estimate
from vit_atlas.io.arrays import COSINE_LEVELS, pack_maps, read_arrays
from vit_atlas.io.files import read_json
from vit_atlas.report.payload import blob, plain
from vit_atlas.report.pictures import Picture, address, picture

PAIRED = 12
"""Drawn photos whose pairs of maps are on the page: about 200 KB each."""

BUDGET = 9_000_000
"""Characters that all photos and their attention may take; photos beyond are left out, and the page says so."""

Metrics = dict[str, Any]
Array = np.ndarray


def attention(metrics: Metrics) -> dict[str, Any] | None:
    """The attention explorer: what is common, and one packed entry a photo.

    Args:
        metrics: of attn-viz; scores of the methods are shown beside their maps.

    Returns:
        ``common`` and ``photos`` for the page's scripts, ``left_out`` (photos that did not fit); None without data.

    Raises:
        AtlasError: a file is broken.
    """
    folder = paths.ATTENTION_DATA
    if not (folder / "explorer.json").is_file():
        return None
    content = read_json(folder / "explorer.json")
    arrays = read_arrays(folder / "explorer.npz", "attn-viz")
    drawn = read_arrays(folder / "maps.npz", "attn-viz")
    names = list(content["methods"])
    codes, _ = pack_maps(drawn["maps"].astype(np.float64))
    photos: list[dict[str, Any]] = []
    size = 0
    for index, photo in enumerate(content["photos"]):
        packed = blob({**{name: values[index] for name, values in arrays.items()}, "methods": codes[index]})
        thumbnail = _jpeg(folder / photo["photo"])
        size += len(packed["data"]) + len(thumbnail)
        if photos and size > BUDGET:
            break
        photos.append(plain(photo | {"photo": thumbnail} | packed))
    common = {key: content[key] for key in ("special", "layers", "heads", "layer", "grid", "cell", "cells")}
    common["methods"] = [
        {"name": name, "label": method_label(name, metrics), "note": _score(metrics, name)} for name in names
    ]
    return {"common": plain(common), "photos": photos, "left_out": len(content["photos"]) - len(photos)}


@dataclass(frozen=True)
class Pairs:
    """Pictures of one drawn photo: for the guess and the true class, before and after fine-tuning; None where none."""

    name: str
    truth: str
    guess: str
    why_not: Picture | None
    before_after: Picture | None


def pairs() -> list[Pairs]:
    """Pairs of maps of the drawn photos, of the first ones where there are many.

    Raises:
        AtlasError: build/attention/explorer.json is broken.
    """
    if not (paths.ATTENTION_DATA / "explorer.json").is_file():
        return []
    found = []
    for photo in read_json(paths.ATTENTION_DATA / "explorer.json")["photos"][:PAIRED]:
        place, name = f"{Path(photo['photo']).stem}.png", photo["name"]
        why_not = picture(
            paths.ATTENTION_PLOTS / "why_not" / place, f"{name}: maps for {photo['guess']} and for {photo['truth']}"
        )
        before_after = picture(
            paths.ATTENTION_PLOTS / "before_after" / place, f"{name}: maps before and after fine-tuning"
        )
        if why_not or before_after:
            found.append(Pairs(name, photo["truth"], photo["guess"], why_not, before_after))
    return found


def embeddings() -> dict[str, Any] | None:
    """The position explorer: codes of the similarities before and after, and the lowest of them; None without data.

    Raises:
        AtlasError: the file is broken.
    """
    arrays = _embedding_arrays()
    if "before" not in arrays:
        return None
    before, after = arrays["before"], arrays["after"]
    same = bool((before == after).all())
    shown = {"after": after} if same else {"before": before, "after": after}
    return plain(
        {
            "grid": arrays["grid"].tolist(),
            "shown": list(before.shape[:2]),
            "step": int(arrays["step"]),
            "same": same,
            "levels": COSINE_LEVELS,
            "lowest": min(int(values.min()) for values in shown.values()) / COSINE_LEVELS - 1,
            **blob(shown),
        }
    )


def distance_rows() -> list[dict[str, Any]]:
    """Similarity by distance as rows of a chart: when, distance, mean, low, high; once where nothing changed."""
    arrays = _embedding_arrays()
    if "before" not in arrays:
        return []
    same = bool((arrays["before"] == arrays["after"]).all())
    return _curves(arrays, {when: f"{when} fine-tuning" for when in (("after",) if same else ("before", "after"))})


def token_rows() -> list[dict[str, Any]]:
    """The same of the tokens after the last block: between photos, where that is known, and in one photo."""
    return _curves(_embedding_arrays(), {name: name for name in ("between photos", "in one photo")})


def attention_distances() -> tuple[Array, float] | None:
    """Mean attention distance (layers, heads) in patches, and that of even attention; None without data."""
    arrays = _embedding_arrays()
    if "attention_distance" not in arrays:
        return None
    return arrays["attention_distance"], float(arrays["attention_distance_even"])


def _embedding_arrays() -> dict[str, Array]:
    return read_arrays(paths.EMBEDDINGS, "embed-viz") if paths.EMBEDDINGS.is_file() else {}


def _curves(arrays: Mapping[str, Array], names: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for name, shown in names.items():
        columns = {column: arrays.get(f"curve_{name}_{column}", ()) for column in ("distance", "mean", "low", "high")}
        for values in zip(*columns.values(), strict=True):
            rows.append({"when": shown, **dict(zip(columns, map(float, values), strict=True))})
    return rows


def captions() -> dict[str, Any] | None:
    """The caption explorer: photos with their words, and one packed entry a photo; None without data.

    Raises:
        AtlasError: a file is broken.
    """
    folder = paths.CAPTION_DATA
    if not (folder / "captions.json").is_file():
        return None
    content = read_json(folder / "captions.json")
    arrays = read_arrays(folder / "maps.npz", "caption-attn")
    photos = []
    for index, photo in enumerate(content["photos"]):
        own = {name.replace(f"_{index}", "", 1): values for name, values in arrays.items() if _belongs(name, index)}
        grid = list(own["drawn"].shape[1:]) if own else [1, 1]
        layers = own["layers"].shape[1] if own else 0
        photos.append(
            photo
            | {"photo": _jpeg(folder / photo["photo"]), "grid": grid, "layers": layers}
            | (blob(own) if own else {})
        )
    return plain({"photos": photos, "view": content["view"], "captioner": content["captioner"]})


def method_label(name: str, metrics: Mapping[str, Any]) -> str:
    """What the page calls a map method; of a chosen head, which one it is (from 1)."""
    head = metrics.get(f"{name}.head")
    return METHODS[name].label + ("" if head is None else f" (head {head})")


def _belongs(name: str, index: int) -> bool:
    return name.removesuffix("_peaks").endswith(f"_{index}")


def _score(metrics: Metrics, name: str) -> str:
    score = Estimate.read(metrics, f"{name}.miou")
    return f"Mean IoU with the masks of {metrics.get('photos_scored')} test photos {score:.2f}." if score else ""


def _jpeg(path: Path) -> str:
    return address(path.read_bytes(), "jpeg")
