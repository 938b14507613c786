"""Flipped labels come first, what belongs together stays in one fold, and the look tells why a photo is doubted."""

import numpy as np
import pandas as pd
import pytest

from vit_atlas.data.manifest import COLUMNS as PHOTO
from vit_atlas.data.manifest import Manifest
from vit_atlas.evaluation.suspects import COLUMNS, LABEL, SHORTCUT, UNSEEN, out_of_fold, suspects

CLASSES = ["001", "NA", "cat"]
NO_LOOKS = pd.DataFrame(columns=["image_id", "predicted_name", "inside"])
NO_AREAS = pd.Series(dtype=float)


def photos(labels: np.ndarray) -> Manifest:
    rows = []
    for number, label in enumerate(labels):
        row = dict.fromkeys(PHOTO, "") | {"image_id": f"{number:03}.jpg", "split": "train", "label": int(label)}
        rows.append(row | {"class_name": CLASSES[label], "width": 8, "height": 8})
    return Manifest(pd.DataFrame(rows))


def features(labels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.6, (len(labels), 5))
    return np.eye(3, 5)[labels] * 2 + noise


def test_flipped_labels_come_first() -> None:
    true = np.arange(120) % 3
    given = true.copy()
    flipped = np.random.default_rng(1).choice(120, 6, replace=False)
    given[flipped] = (given[flipped] + 1) % 3
    shares = out_of_fold(features(true), given, np.arange(120), 3, 0.1)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    table = suspects(photos(given), shares, CLASSES, NO_LOOKS, NO_AREAS)
    found = set(table["image_id"].head(6))
    assert len(found & {f"{number:03}.jpg" for number in flipped}) >= 5
    assert (table["quality"].head(6) < 0.5).all()
    assert set(table["kind"]) == {LABEL}


def test_copies_of_a_wrong_label_do_not_vouch_for_each_other() -> None:
    """Ten copies of one photo with one wrong label: with a fold each they would confirm it, together they cannot."""
    true = np.arange(60) % 3
    seen = features(true)
    seen[:10] = seen[0]
    given = true.copy()
    given[:10] = 1
    alone = out_of_fold(seen, given, np.arange(60), 3, 10.0)
    bound = out_of_fold(seen, given, np.r_[np.zeros(10, int), np.arange(1, 51)], 3, 10.0)
    assert (alone[:10].argmax(axis=1) == 1).all()
    assert (bound[:10].argmax(axis=1) != 1).all()


def test_a_class_in_one_group_is_not_doubted() -> None:
    labels = np.r_[np.zeros(20, int), np.ones(20, int), np.full(4, 2)]
    together = np.r_[np.arange(40), np.full(4, 99)]
    shares = out_of_fold(features(labels), labels, together, 3, 0.1)
    assert np.isnan(shares[40:]).all()
    assert not np.isnan(shares[:40]).any()
    assert np.isnan(out_of_fold(features(labels), labels, np.zeros(44), 3, 0.1)).all()


def test_the_look_tells_why() -> None:
    labels = np.array([0, 0, 0, 0, 0])
    shares = np.tile([0.8, 0.1, 0.1], (5, 1))
    shares[:2] = [0.1, 0.8, 0.1]
    names = [f"{number:03}.jpg" for number in range(4)]
    looks = pd.DataFrame({"image_id": names, "predicted_name": "001", "inside": [0.7, 0.1, 0.7, 0.1]})
    table = suspects(photos(labels), shares, CLASSES, looks, pd.Series(0.3, index=names)).set_index("image_id")
    assert dict(table["kind"]) == {"000.jpg": LABEL, "001.jpg": UNSEEN, "003.jpg": SHORTCUT}
    assert list(table["suggested_name"]) == ["NA", "NA", "001"]


def test_without_a_probe_there_is_no_suspect() -> None:
    table = suspects(photos(np.array([0, 1])), np.full((2, 3), np.nan), CLASSES, NO_LOOKS, NO_AREAS)
    assert table.empty
    assert tuple(table.columns) == COLUMNS


@pytest.mark.parametrize("labels", [np.array([0]), np.array([0, 0, 0]), np.array([0, 1])])
def test_too_few_photos_are_no_error(labels: np.ndarray) -> None:
    assert out_of_fold(features(labels), labels, np.arange(len(labels)), 3, 1.0).shape == (len(labels), 3)
