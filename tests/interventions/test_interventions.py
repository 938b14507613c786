"""Interventions: what is taken away is gone, what is compared is comparable, and a shortcut is caught."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessor

from tests.tiny_models import tiny_model
from tests.tiny_settings import tiny
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.estimates import Estimate
from vit_atlas.interventions.answers import COLUMNS as TABLE
from vit_atlas.interventions.answers import strangest
from vit_atlas.interventions.measure import (
    Scene,
    filled,
    highest,
    interventions,
    moved,
    run_interventions,
    to_patches,
    to_pixels,
)
from vit_atlas.interventions.summary import by_class, intervention_metrics
from vit_atlas.models.classifier import Classifier
from vit_atlas.settings import InterventionSettings

SETTINGS = tiny(InterventionSettings, photos=42)


def chance() -> np.random.Generator:
    return np.random.default_rng(0)


def scene(object_pixels: tuple[slice, slice] | None = (slice(8, 16), slice(8, 16))) -> Scene:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    mask = np.zeros((32, 32), bool)
    if object_pixels:
        mask[object_pixels] = True
    photo: Any = None
    return Scene(photo, pixels, mask, (8, 8))


def test_nothing_of_what_is_taken_away_is_left() -> None:
    """The filling is the same whatever stood there."""
    one = scene()
    other = one.pixels.copy()
    other[one.object] = 255 - other[one.object]
    for filling in ("blur", "mean"):
        new = filled(one.pixels, one.object, filling)
        assert np.array_equal(new, filled(other, one.object, filling))
        assert np.array_equal(new[~one.object], one.pixels[~one.object])
    donor = np.full((32, 32, 3), 7, np.uint8)
    assert (filled(one.pixels, one.object, "other", donor)[one.object] == 7).all()


def test_box_hides_the_outline_of_the_object() -> None:
    shape = scene()
    shape.object[8, 8] = False
    assert np.array_equal(shape.box, scene().box)
    assert shape.box[0:24, 0:24].all()
    assert not shape.box[24:].any()


def test_highlight_and_the_area_compared_with_it_have_one_size_and_shape() -> None:
    looks = np.arange(16, dtype=float).reshape(4, 4)
    highlight = highest(looks, 0.25)
    assert highlight[3].all()
    assert highlight.sum() == 4
    elsewhere = moved(highlight, highlight, chance())
    assert elsewhere.sum() == 4
    assert not (elsewhere & highlight).any()
    assert highest(looks, 0.001).sum() == 1
    assert np.array_equal(to_patches(to_pixels(highlight, (32, 32)), (4, 4)), highlight)


def test_without_background_around_the_objects_box_the_background_is_not_asked_about() -> None:
    looks = np.eye(4)
    close = scene((slice(8, 24), slice(8, 24)))
    assert close.box.all()
    names = {name for name, *_ in interventions(close, looks, None, 0.01, chance())}
    assert "object_alone" in names
    assert "background_alone" not in names


def test_emphasis_beside_the_object_is_asked_about_only_where_there_is_one() -> None:
    beside, on = np.zeros((4, 4)), np.zeros((4, 4))
    beside[3, 3] = 1
    on[1, 1] = 1
    names = {name for name, *_ in interventions(scene(), beside, None, 0.01, chance())}
    assert {"without_beside", "without_beside_elsewhere"} <= names
    names = {name for name, *_ in interventions(scene(), on, None, 0.01, chance())}
    assert "without_beside" not in names
    assert {"whole", "object_alone", "background_alone", "without_highlight", "without_elsewhere"} == names


def test_a_photo_without_a_mask_is_still_asked_about_its_highlight() -> None:
    names = {name for name, *_ in interventions(scene(None), np.eye(4), None, 0.1, chance())}
    assert names == {"whole", "without_highlight", "without_elsewhere"}


# -- a model that takes a shortcut, and one that does not


LABELS = ("red", "blue", "green")


def write_striped(folder: Path, shortcut: bool, photos: int = 42) -> Manifest:
    """Squares of three colours on plain or striped ground; with ``shortcut`` all red ones, and no other, on stripes."""
    noise = np.random.default_rng(int(shortcut))
    rows = []
    for number in range(photos):
        label = number % 3
        stripes = label == 0 if shortcut else number // 3 % 2 == 0
        pixels = noise.integers(90, 110, (32, 32, 3))
        if stripes:
            pixels[:, ::4] += 120
        top, left = noise.integers(4, 20, 2)
        mask = np.zeros((32, 32), bool)
        mask[top : top + 8, left : left + 8] = True
        pixels[mask] = [(200, 60, 60), (60, 60, 200), (60, 200, 60)][label]
        name = f"{number}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        Image.fromarray(mask).save(folder / f"mask_{name}")
        row = dict.fromkeys(COLUMNS, "") | {"image_id": name, "path": f"{folder}/{name}", "split": "test"}
        row |= {"mask": f"{folder}/mask_{name}", "mask_kind": "binary", "class_name": LABELS[label]}
        rows.append(row | {"label": label, "width": 32, "height": 32})
    return Manifest(pd.DataFrame(rows))


def trained(photos: Manifest) -> Classifier:
    torch.manual_seed(0)
    model = tiny_model("vit", LABELS)
    classifier = Classifier(model, ViTImageProcessor(size={"height": 32, "width": 32}))
    pixels = classifier.pixel_values([photo.open() for photo in photos])
    labels = torch.from_numpy(photos.labels)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(80):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(pixels).logits, labels).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        assert (model(pixels).logits.argmax(1) == labels).all()
    return classifier


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_model_that_answers_from_the_background_is_caught(shortcut: bool, tmp_path: Path) -> None:
    photos = write_striped(tmp_path, shortcut)
    table = run_interventions(trained(photos), photos, SETTINGS)
    metrics = intervention_metrics(table, SETTINGS)
    assert metrics["whole.accuracy"] == 1.0
    background = Estimate.read(metrics, "background_above_chance")
    assert background is not None
    assert background.above(0) == ("supported" if shortcut else "cannot be said")
    if not shortcut:
        needs = Estimate.read(metrics, "needs_object")
        assert needs is not None
        assert needs.above(0) == "supported"
        assert metrics["object_alone.accuracy"] > 0.9
    classes = by_class(table, SETTINGS).set_index("class_name")
    assert list(classes["photos"]) == [14, 14, 14]
    assert list(classes.index[classes["shortcut_p"] < 0.05]) == (["red"] if shortcut else [])
    if shortcut:
        assert all(table.set_index("image_id").loc[name, "class_name"].iloc[0] == "red" for name in strangest(table, 3))
        assert len(strangest(table, 3)) == 3


def answered(rows: list[tuple[str, str, str, str, bool]]) -> pd.DataFrame:
    """A table of answers; each row is a photo, its class, what was left, the answer, and whether it is right."""
    made = [(photo, name, left, "blur", 0.5, right, answer, 0.0) for photo, name, left, answer, right in rows]
    return pd.DataFrame(made, columns=list(TABLE))


def test_a_class_that_is_named_on_every_background_is_no_shortcut() -> None:
    """Of two classes that are right on all their backgrounds, only the one that others' do not name is caught."""
    rows = []
    for number in range(40):
        name = ("cat", "dog")[number % 2]
        rows += [
            (f"{number}", name, left, answer, answer == name)
            for left, answer in (("whole", name), ("background_alone", "dog"))
        ]
    found = by_class(answered(rows), SETTINGS).set_index("class_name")
    assert found.loc["dog", "background_alone"] == 1
    assert found.loc["dog", "named_on_others"] == 1
    assert (found["shortcut_p"] == 1).all()
    honest = [(photo, name, left, name, True) for photo, name, left, *_ in rows]
    assert (by_class(answered(honest), SETTINGS)["shortcut_p"] < 1e-6).all()


def test_many_classes_together_are_wrong_no_more_often_than_one() -> None:
    """Fisher's p of 2 in 2 against 0 in 18 is 1/190; with ten classes Holm makes ten times that of it."""
    rows = [
        (f"{label}{copy}", str(label), "background_alone", "0" if label == 0 else "none", label == 0)
        for label in range(10)
        for copy in range(2)
    ]
    found = by_class(answered(rows), SETTINGS)
    assert found["shortcut_p"][0] == pytest.approx(10 / 190, abs=1e-5)


def test_photos_without_masks_have_no_shortcut() -> None:
    found = by_class(answered([("a", "x", "whole", "x", True), ("b", "y", "whole", "x", False)]), SETTINGS)
    assert found["shortcut_p"].isna().all()
    assert found["named_on_others"].isna().all()


def test_an_emphasis_beside_the_object_that_carries_the_answer_is_strange() -> None:
    rows = [(name, "x", "without_beside", "blur", kept, True, "x", 0.1) for name, kept in (("a", 0.1), ("b", 0.85))]
    rows += [(name, "x", "without_beside_elsewhere", "blur", 0.9, True, "x", 0.1) for name in "ab"]
    assert strangest(pd.DataFrame(rows, columns=list(TABLE)), 5) == ["a"]


def test_results_belong_to_the_photo_and_not_to_the_others(tmp_path: Path) -> None:
    photos = write_striped(tmp_path, True, photos=6)
    classifier = Classifier(tiny_model("vit", LABELS), ViTImageProcessor(size={"height": 32, "width": 32}))
    whole = run_interventions(classifier, photos, SETTINGS)
    again = run_interventions(classifier, Manifest(photos.frame.iloc[::-1]), SETTINGS)
    pd.testing.assert_frame_equal(whole, again)
    few = run_interventions(classifier, photos, tiny(InterventionSettings, photos=2))
    assert few["image_id"].nunique() == 2
    same = whole[whole["filling"] != "other"].merge(few, on=["image_id", "intervention", "filling"])
    np.testing.assert_allclose(same["probability_x"], same["probability_y"], rtol=1e-6)


def test_the_background_is_judged_by_the_photos_that_were_asked_for_it() -> None:
    """Three photos that their objects' boxes fill make `cat` the commonest class of those with a mask."""
    rows = [(f"{number}", "cat", left, "cat", True) for number in range(3) for left in ("whole", "object_alone")]
    for number, name in enumerate(("dog", "fox", "cat"), start=3):
        rows += [(f"{number}", name, left, name, True) for left in ("whole", "object_alone", "background_alone")]
    metrics = intervention_metrics(answered(rows), SETTINGS)
    assert (metrics["photos_with_masks"], metrics["photos_with_background"]) == (6, 3)
    assert metrics["background_above_chance"] == pytest.approx(1 - 1 / 3)


def test_numbers_that_no_photo_has_are_none() -> None:
    rows = [("a", "x", "whole", "x", True), ("b", "x", "whole", "y", False)]
    metrics = intervention_metrics(answered(rows), SETTINGS)
    assert metrics["whole.accuracy"] == 0.5
    assert metrics["photos_with_masks"] == metrics["photos_with_background"] == 0
    assert metrics["needs_object"] is None
    assert metrics["beside_effect"] is None
