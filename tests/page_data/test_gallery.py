"""The gallery: which photos are chosen, what is told of each, and where each lies."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from transformers import ViTImageProcessor

from tests.tiny_models import tiny_model
from tests.tiny_settings import tiny
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.io.arrays import read_arrays
from vit_atlas.io.frames import read_csv
from vit_atlas.models.classifier import Classifier
from vit_atlas.page_data.gallery import LONGEST, choose, project, write_gallery
from vit_atlas.paths import GALLERY
from vit_atlas.settings import GallerySettings


def manifest(rows: list[tuple[str, str, str]], folder: Path | None = None, masks: bool = False) -> Manifest:
    """Photos as (name, split, class); with a ``folder`` they and their masks are there."""
    table = []
    for number, (name, split, class_name) in enumerate(rows):
        path, mask = f"{folder}/{name}", ""
        if folder is not None:
            pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            if masks:
                mask = f"{path}.mask.png"
                area = np.zeros((40, 60), np.uint8)
                area[:, :30] = 255
                Image.fromarray(area).save(mask)
        label = ord(class_name) - ord("x")
        table.append((name, path, split, label, class_name, 60, 40, mask, "binary" if mask else "", "", "", ""))
    return Manifest(pd.DataFrame(table, columns=list(COLUMNS)))


def predictions(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["image_id", "class_name", "predicted_name", "confidence"])
    return table.assign(correct=table["class_name"] == table["predicted_name"])


def test_every_confusion_has_its_turn_before_any_has_a_second() -> None:
    rows = [(f"{number}.png", "x", "x", 0.9 - number / 100) for number in range(6)]
    rows += [("wrong.png", "x", "y", 0.1), ("other.png", "y", "y", 0.2)]
    photos = manifest([(name, "test", truth) for name, truth, *_ in rows])
    chosen = choose(photos, predictions(rows), tiny(GallerySettings, photos=4))
    assert chosen.image_ids == ["wrong.png", "0.png", "other.png", "1.png"]


def test_training_photos_share_the_room_and_leave_what_they_do_not_need() -> None:
    rows = [(f"{number}.png", "x", "x", 0.5) for number in range(8)]
    others = [(f"train{number}.png", "train", "xy"[number % 2]) for number in range(2)]
    photos = manifest([(name, "test", truth) for name, truth, *_ in rows] + others)
    assert (
        choose(photos, predictions(rows), tiny(GallerySettings, photos=6)).frame["split"].tolist()
        == ["test"] * 4 + ["train"] * 2
    )
    assert len(choose(photos, predictions(rows), tiny(GallerySettings, photos=100))) == 10
    assert choose(photos, predictions(rows), tiny(GallerySettings, photos=1)).frame["split"].tolist() == ["test"]


@pytest.mark.parametrize("masks", [True, False])
def test_what_is_told_of_each_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: bool) -> None:
    photos = manifest(
        [(f"{number}.png", "test" if number < 4 else "train", "xy"[number % 2]) for number in range(7)], tmp_path, masks
    )
    monkeypatch.chdir(tmp_path)
    classifier = Classifier(tiny_model("vit", scale=3.0), ViTImageProcessor(size={"height": 32, "width": 32}))
    settings = tiny(GallerySettings, thumbnails=1)
    write_gallery(classifier, photos, settings)
    table = read_csv(GALLERY / "gallery.csv", "gallery")
    arrays = read_arrays(GALLERY / "gallery.npz", "gallery")
    assert table["image_id"].tolist() == photos.image_ids
    logits = classifier.model(classifier.pixel_values([photo.open() for photo in photos])).logits
    guesses = ["xy"[label] for label in logits.argmax(1)]
    assert table["predicted_name"].tolist() == guesses
    np.testing.assert_allclose(table["confidence"], logits.softmax(1).max(1).values.detach(), atol=1e-4)
    assert table["inside"].notna().all() == masks
    # One picture of each class, guess and kind of split.
    cells = list(zip(table["split"] == "test", table["class_name"], guesses, strict=True))
    assert [place >= 0 for place in table["thumbnail"]] == [
        cell not in cells[:number] for number, cell in enumerate(cells)
    ]
    assert len(arrays["ends"]) == len(arrays["maps"]) == len(set(cells))
    assert arrays["maps"].shape[1:] == (4, 4)
    first = arrays["jpegs"][: arrays["ends"][0]].tobytes()
    Path("first.jpg").write_bytes(first)
    assert max(Image.open("first.jpg").size) <= LONGEST
    before = (GALLERY / "gallery.npz").read_bytes(), (GALLERY / "gallery.csv").read_bytes()
    write_gallery(classifier, photos, settings)
    assert before == ((GALLERY / "gallery.npz").read_bytes(), (GALLERY / "gallery.csv").read_bytes())


def test_alike_features_lie_near_each_other() -> None:
    chance = np.random.default_rng(0)
    features = np.concatenate([chance.normal(size=(30, 16)), chance.normal(size=(30, 16)) + 9]).astype(np.float32)
    for places in project(features, seed=0).values():
        assert places.min() >= 0
        assert places.max() <= 1
        centres = places[:30].mean(axis=0), places[30:].mean(axis=0)
        assert np.linalg.norm(centres[0] - centres[1]) > 2 * places[:30].std(axis=0).max()


@pytest.mark.parametrize("count", [1, 2, 40])
def test_photos_that_are_all_the_same_or_few_lie_somewhere(count: int) -> None:
    for places in project(np.ones((count, 8), np.float32), seed=0).values():
        assert places.tolist() == [[0.5, 0.5]] * count
    for places in project(np.eye(count, 8, dtype=np.float32), seed=0).values():
        assert np.isfinite(places).all()
