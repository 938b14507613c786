"""A finished result made of noise, in the current folder: all that the page reads, and no model needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vit_atlas.estimates import Estimate
from vit_atlas.io.arrays import pack_cosines, pack_maps, write_arrays
from vit_atlas.io.files import write_json

EVIL = '</script><img src=x onerror="window.broken=1">\'\n&amp;'
"""A name that would break a page which does not escape it."""

EVALUATE = {
    "accuracy": 0.9,
    "accuracy_low": 0.85,
    "accuracy_high": 0.95,
    "photos": 200,
    "probe_accuracy": 0.8,
    "probe_accuracy_low": 0.75,
    "probe_accuracy_high": 0.85,
    "accuracy_minus_probe": 0.1,
    "accuracy_minus_probe_low": 0.04,
    "accuracy_minus_probe_high": 0.16,
}
INTERVENTIONS = {
    "photos": 24,
    "photos_with_masks": 24,
    "photos_with_background": 24,
    "photos_with_emphasis_beside": 3,
    **Estimate(0.7, 0.5, 0.9).flat("whole.accuracy"),
    **Estimate(0.6, 0.4, 0.8).flat("object_alone.accuracy"),
    **Estimate(0.1, 0.0, 0.2).flat("background_alone.accuracy"),
    **Estimate(0.6, 0.4, 0.8).flat("needs_object"),
    **Estimate(-0.1, -0.2, 0.0).flat("background_above_chance"),
    **Estimate(0.01, -0.01, 0.03).flat("beside_effect"),
}
ATTENTION = {
    "photos_scored": 12,
    "winner": "head_mean",
    "head_mean.miou": 0.7,
    "head_mean.miou_low": 0.6,
    "head_mean.miou_high": 0.8,
    "head_mean.mass": 0.6,
    "head_mean.mass_low": 0.55,
    "head_mean.mass_high": 0.65,
    "head_mean.miou_over_gaussian": 0.05,
    "head_mean.miou_over_gaussian_low": -0.01,
    "head_mean.miou_over_gaussian_high": 0.11,
    "gaussian.miou": 0.65,
    "photos_sanity": 8,
    "head_mean.sanity_blocks": 0.2,
    "head_mean.sanity_blocks_low": 0.1,
    "head_mean.sanity_blocks_high": 0.3,
    "gaussian.sanity_head": 1.0,
    "gaussian.sanity_head_low": 1.0,
    "gaussian.sanity_head_high": 1.0,
    "artefacts.photos": 0,
    "artefacts.present": 0.0,
    "artefacts.present_low": 0.0,
    "artefacts.present_high": 0.24,
}
CAPTION = {
    "noun_mass": 0.5,
    "noun_mass_gaussian": 0.2,
    "noun_mass_over_gaussian": 0.3,
    "noun_mass_over_gaussian_low": 0.2,
    "noun_mass_over_gaussian_high": 0.4,
    "relation_lesser_mass": 0.1,
    "noun_lesser_mass": 0.2,
    "relation_over_noun_lesser_mass": -0.1,
    "relation_over_noun_lesser_mass_low": -0.15,
    "relation_over_noun_lesser_mass_high": -0.05,
}
ROWS, COLUMNS, LAYERS, HEADS, SPECIAL = 3, 5, 2, 2, 2
PATCHES = ROWS * COLUMNS
PHOTOS = 2


def fill(name: str = "cat") -> None:
    """Write everything; ``name`` is a class, a photo, a noun and a word of a caption."""
    write_metrics(name)
    write_tables(name)
    write_attention(name)
    write_embeddings()
    write_captions(name)
    write_gallery([name, "NA"])


def write_metrics(name: str) -> None:
    """metrics/*.json."""
    counts = {"photos": 9, "classes": 2, "train": 4, "val": 1, "test": 4}
    write_json("metrics/prepare.json", counts | {"rejected_count": 1, "rejected": {"<b>.gif": "animated"}})
    write_json("metrics/evaluate.json", EVALUATE)
    write_json("metrics/embeddings.json", {"rank_correlation_after": -0.2, "relative_change": 0.01, "photos": 16})
    write_json("metrics/attention.json", ATTENTION)
    write_json("metrics/interventions.json", INTERVENTIONS)
    write_json("metrics/caption.json", CAPTION | {"warnings": [f"1 photos are left out ({name})"]})


def write_tables(name: str) -> None:
    """What finetune and evaluate leave."""
    import pandas as pd

    tables: dict[str, dict[str, list[Any]]] = {
        "build/history.csv": {
            "step": [1, 2],
            "train_loss": [2.0, 1.0],
            "val_loss": [None, 1.5],
            "val_accuracy": [None, 0.5],
        },
        "build/predictions.csv": {
            "image_id": [f"{name}.png", "b.png"],
            "class_name": [name, "NA"],
            "predicted_name": ["NA", "NA"],
            "confidence": [0.75, 0.5],
            "correct": ["False", "True"],
        },
        "plots/evaluate/confusion.csv": {"actual": [name, "NA", "NA"], "predicted": ["NA", "NA", "NA"]},
        "plots/evaluate/reliability.csv": {"confidence": [0.8], "accuracy": [0.75], "count": [4]},
        "plots/evaluate/per_class.csv": {
            "class_name": [name, "NA"],
            "photos": [3, 4],
            "precision": [1.0, 0.5],
            "recall": [0.5, 1.0],
            "recall_low": [0.1, None],
            "recall_high": [0.9, None],
            "f1": [0.667, 0.667],
            "taken_for": ["NA", name],
        },
    }
    for place, columns in tables.items():
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_csv(place, index=False)
    write_json("build/prepared/classes.json", [name, "NA"])
    Path("data.dvc").write_text("outs:\n- md5: abc.dir\n  path: data\n")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Maps of which each sums to less than 1."""
    values = np.random.default_rng(seed).random(shape) ** 4
    return values / values.sum(axis=-1, keepdims=True) * 0.9


def write_photo(path: Path) -> None:
    """A picture of noise, 60 x 40."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=80)


def write_attention(name: str, outline: str | None = "M100 100L500 100L500 800Z", cell: int = 1) -> None:
    """build/attention: every cell (patch) looks at the one after it more than at all others."""
    folder = Path("build/attention")
    cells = [-(-side // cell) for side in (ROWS, COLUMNS)]
    count = cells[0] * cells[1]
    right = np.full((count, count), 0.01)
    right[np.arange(count), (np.arange(count) + 1) % count] = 0.5
    arrays: dict[str, np.ndarray] = {}
    special = noise(PHOTOS, LAYERS, HEADS, SPECIAL, PATCHES).reshape(PHOTOS, LAYERS, HEADS, SPECIAL, ROWS, COLUMNS)
    found = {
        "special": (special, 2),
        "patches": (np.broadcast_to(right, (PHOTOS, LAYERS, count, count)), 1),
        "heads": (np.broadcast_to(right, (PHOTOS, HEADS, count, count)), 1),
    }
    for key, (values, axes) in found.items():
        arrays[key], arrays[f"{key}_peaks"] = pack_maps(values, axes)
    arrays["colours"] = np.random.default_rng(4).integers(0, 256, (PHOTOS, ROWS, COLUMNS, 3), dtype=np.uint8)
    write_arrays(folder / "explorer.npz", arrays)
    maps = noise(PHOTOS, 2, PATCHES, seed=2).reshape(PHOTOS, 2, ROWS, COLUMNS)
    write_arrays(folder / "maps.npz", {"maps": maps, "methods": np.array(["head_mean", "gaussian"])})
    photos = [
        {
            "image_id": f"{index}.png",
            "name": f"{name}{index}.png",
            "truth": name,
            "guess": name if index == 0 else "NA",
            "likely": [[name, 0.9], ["NA", 0.1]],
            "width": 60,
            "height": 40,
            "photo": f"photos/{index}.jpg",
            "outline": outline,
        }
        for index in range(PHOTOS)
    ]
    for photo in photos:
        write_photo(folder / str(photo["photo"]))
    content = {
        "photos": photos,
        "methods": {"head_mean": "head mean", "gaussian": "centre Gaussian"},
        "special": ["class token", "register 1"],
        "layers": LAYERS,
        "heads": HEADS,
        "layer": 1,
        "grid": [ROWS, COLUMNS],
        "cell": cell,
        "cells": cells,
    }
    write_json(folder / "explorer.json", content)


def write_gallery(classes: Sequence[str], photos: int = 6, jpeg: bytes = b"") -> None:
    """build/gallery: photos of all classes in turn; every second guess is the first class, every third has no picture.

    Test photos are sure by 0.9, 0.8, ... and look at the object with 0, 10, ... percent.
    """
    import io

    import pandas as pd

    if not jpeg:
        buffer = io.BytesIO()
        Image.new("RGB", (24, 16), (200, 40, 30)).save(buffer, "JPEG")
        jpeg = buffer.getvalue()
    order = np.arange(photos)
    pictured = order % 3 != 2
    truth = [classes[place % len(classes)] for place in range(photos)]
    chance = np.random.default_rng(7)
    table = {
        "image_id": [f"{name}/{place}.jpg" for place, name in enumerate(truth)],
        "split": ["test" if place < max(4, photos // 2) else "train" for place in order],
        "class_name": truth,
        "predicted_name": [name if place % 2 == 0 else classes[0] for place, name in enumerate(truth)],
        "confidence": 0.9 - order % 9 * 0.1,
        "inside": [None if place % 5 == 4 else place % 10 * 0.1 for place in order],
        "thumbnail": np.where(pictured, np.cumsum(pictured) - 1, -1),
        **{f"{name}_{axis}": chance.random(photos) for name in ("pca", "tsne") for axis in "xy"},
    }
    Path("build/gallery").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_csv("build/gallery/gallery.csv", index=False)
    count = int(pictured.sum())
    maps = noise(count, PATCHES, seed=5).reshape(count, ROWS, COLUMNS)
    arrays: dict[str, np.ndarray] = {
        "jpegs": np.frombuffer(jpeg * count, np.uint8),
        "ends": np.arange(1, count + 1) * len(jpeg),
        "maps": pack_maps(maps)[0],
    }
    write_arrays("build/gallery/gallery.npz", arrays)


def write_embeddings(same: bool = False) -> None:
    """build/embeddings.npz."""
    place = np.arange(PATCHES)
    near = np.exp(-np.abs(place[:, None] - place) / 3).reshape(ROWS, COLUMNS, ROWS, COLUMNS)
    curve = {name: np.array([0.9, 0.5]) for name in ("mean", "low", "high")} | {"distance": np.array([1.0, 2.0])}
    arrays = {
        "before": pack_cosines(near if same else near**2),
        "after": pack_cosines(near),
        "grid": np.array([2 * ROWS, 2 * COLUMNS]),
        "step": np.array(2),
    }
    names = ("before", "after", "in one photo", "between photos")
    arrays |= {f"curve_{when}_{name}": values for when in names for name, values in curve.items()}
    arrays |= {"attention_distance": 1 + noise(LAYERS, HEADS), "attention_distance_even": np.array(1.9)}
    write_arrays("build/embeddings.npz", arrays)


def write_captions(name: str) -> None:
    """build/captions: a caption of four words, and one without any."""
    folder = Path("build/captions")
    drawn = noise(4, PATCHES, seed=3).reshape(4, ROWS, COLUMNS)
    arrays: dict[str, np.ndarray] = {}
    for key, values in (("drawn_0", drawn), ("layers_0", np.stack([drawn, drawn[::-1]], axis=1))):
        arrays[key], arrays[f"{key}_peaks"] = pack_maps(values)
    write_arrays(folder / "maps.npz", arrays)
    words: list[dict[str, Any]] = [{"text": text, "probability": 0.5} for text in ("a", name, "above", "sea")]
    words[1]["on_mask"] = {"mass": 0.25, "even": 0.5, "at_chance": True}
    common: dict[str, Any] = {"width": 60, "height": 40, "photo": "photos/0.jpg", "ended": True}
    photos: list[dict[str, Any]] = [
        {"name": f"{name}.jpg", "words": words, "references": [f"a {name}"], "outlines": {name: "M0 0L9 0L9 9Z"}},
        {"name": "empty.jpg", "words": [], "references": [], "outlines": {}},
    ]
    write_photo(folder / "photos" / "0.jpg")
    write_json(
        folder / "captions.json",
        {
            "photos": [photo | common for photo in photos],
            "captioner": f"a captioner trained on {name}",
            "view": "mean over layers, mean over heads",
        },
    )
