"""Which photos are drawn, and what their pictures are called."""

import pandas as pd
import pytest

from vit_atlas.attention.photos import choose_photos
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.errors import AtlasError

PATCH = (4, 4)


def _manifest(*image_ids: str, height: int = 20) -> Manifest:
    rows = [dict.fromkeys(COLUMNS, "") | {"image_id": image_id} for image_id in image_ids]
    return Manifest(pd.DataFrame(rows).assign(height=height, width=30, label=0))


def _predictions(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Rows of image_id, true class, guess and confidence, as read from the file."""
    frame = pd.DataFrame(rows, columns=["image_id", "class_name", "predicted_name", "confidence"])
    frame["correct"] = frame["class_name"] == frame["predicted_name"]
    return frame


PREDICTIONS = _predictions(
    ("cat/1.jpg", "cat", "cat", 0.9),
    ("cat/2.jpg", "cat", "cat", 0.95),
    ("cat/3.jpg", "cat", "dog", 0.6),
    ("cat/4.jpg", "cat", "dog", 0.7),
    ("dog/1.jpg", "dog", "dog", 0.8),
    ("dog/2.jpg", "dog", "cat", 0.5),
    ("hen/1.jpg", "hen", "hen", 0.4),
)

ALL = _manifest(*PREDICTIONS["image_id"])


def test_auto_takes_right_and_wrong_ones_spread_over_classes() -> None:
    chosen = choose_photos("auto", 4, ALL, PREDICTIONS, PATCH)
    assert chosen == ["cat/4.jpg", "dog/2.jpg", "hen/1.jpg", "cat/2.jpg"]
    assert choose_photos("auto", 4, ALL, PREDICTIONS.sample(frac=1, random_state=3), PATCH) == chosen


def test_auto_fills_up_where_one_kind_is_short() -> None:
    right = PREDICTIONS[PREDICTIONS["correct"]]
    assert len(choose_photos("auto", 4, ALL, right, PATCH)) == 4
    wrong = PREDICTIONS[~PREDICTIONS["correct"]]
    assert len(choose_photos("auto", 3, ALL, wrong, PATCH)) == 3
    assert len(choose_photos("auto", 64, ALL, PREDICTIONS, PATCH)) == len(PREDICTIONS)


def test_names_are_found_by_file_name_in_their_order_and_once() -> None:
    manifest = _manifest("train/26_5064.jpg", "val/29_4718.jpg", "val/x.jpg")
    wanted = ("29_4718.jpg", "train/26_5064.jpg", "val/29_4718.jpg")
    assert choose_photos(wanted, 1, manifest, PREDICTIONS, PATCH) == ["val/29_4718.jpg", "train/26_5064.jpg"]


def test_a_wrong_name_lists_near_ones() -> None:
    with pytest.raises(AtlasError, match=r"no photo named 26_5046\.jpg in .*: near names are 26_5064\.jpg"):
        choose_photos(("26_5046.jpg",), 1, _manifest("train/26_5064.jpg", "val/zzz.png"), PREDICTIONS, PATCH)
    with pytest.raises(AtlasError, match="write file names as they are"):
        choose_photos(("q",), 1, _manifest("train/26_5064.jpg"), PREDICTIONS, PATCH)


def test_a_name_of_two_photos_asks_for_more() -> None:
    with pytest.raises(AtlasError, match=r"name of 2 photos, write one of cat/1\.jpg, dog/1\.jpg"):
        choose_photos(("1.jpg",), 1, _manifest("cat/1.jpg", "dog/1.jpg"), PREDICTIONS, PATCH)


def test_auto_passes_by_what_is_smaller_than_a_patch() -> None:
    small = Manifest(ALL.frame.assign(width=[3 if name == "cat/4.jpg" else 30 for name in ALL.image_ids]))
    assert "cat/4.jpg" not in choose_photos("auto", 64, small, PREDICTIONS, PATCH)
    with pytest.raises(AtlasError, match="no test photo is as large as a patch"):
        choose_photos("auto", 4, _manifest(*PREDICTIONS["image_id"], height=2), PREDICTIONS, PATCH)
