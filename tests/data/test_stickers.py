"""The sample: the same bytes from the same seed, true sentences, and nothing of the test seen in training."""

import csv
import hashlib
import json
import pickle
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.tiny_settings import tiny
from vit_atlas.data.mask_values import open_mask
from vit_atlas.data.photos import open_photo
from vit_atlas.data.prepare import prepare
from vit_atlas.data.stickers.backgrounds import BUSY, CALM
from vit_atlas.data.stickers.captioning import (
    SCENES,
    Nouns,
    make_scene,
    plan_scenes,
    with_article,
    write_captioning,
)
from vit_atlas.data.stickers.catalogue import Stamp, stamps
from vit_atlas.data.stickers.classification import PHOTOS_PER_CLASS, make_photo, plan_photos, write_classification
from vit_atlas.data.stickers.fetch import find_stamps
from vit_atlas.data.stickers.sample import require_ours
from vit_atlas.errors import AtlasError
from vit_atlas.settings import DataSettings

COUNTS = {"train": 4, "val": 2, "test": 2}


@pytest.fixture(scope="session")
def fake_stamps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Stamp, ...]]:
    """Coloured ellipses with an alpha channel, and a table of them."""
    folder = tmp_path_factory.mktemp("stamps")
    table = []
    kinds = [("bird", "owl", "red"), ("fish", "carp", "blue"), ("tool", "axe", "green")]
    kinds += [("", noun, "") for noun in ("elk", "gnu", "yak", "emu", "bee")]
    for category, noun, colour in kinds:
        for number, use in enumerate(("train", "train", "val", "test")):
            path = f"{noun}_{number}.png"
            image = Image.new("RGBA", (60, 40 + 5 * number))
            ImageDraw.Draw(image).ellipse((5, 5, 50, 35), fill=colour or "grey")
            image.save(folder / path)
            table.append(Stamp(path, "", category, use, noun, colour, "test" if use == "test" else "train"))
    return folder, tuple(table)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_seed_gives_the_same_bytes_also_in_another_process(fake_stamps, tmp_path: Path) -> None:
    source, table = fake_stamps
    made = []
    for name, seed in (("first", 3), ("second", 3), ("other", 4)):
        for kind in ("classification", "captioning"):
            (tmp_path / name / kind).mkdir(parents=True)
        write_classification(tmp_path / name / "classification", source, table, seed, COUNTS)
        write_captioning(tmp_path / name / "captioning", source, table, seed, {"train": 5, "val": 2, "test": 2})
        made.append(contents(tmp_path / name))
    assert made[0] == made[1]
    assert made[0].keys() >= {"classification/sources.csv", "captioning/captions.csv", "captioning/objects.jsonl"}
    differing = [name for name in made[0] if name.endswith(".jpg") and made[0][name] != made[2].get(name)]
    assert len(differing) == len([name for name in made[0] if name.endswith(".jpg")])
    code = (
        "import pickle, sys\nfrom pathlib import Path\n"
        "from vit_atlas.data.stickers.classification import write_classification\n"
        "folder, source, table = pickle.loads(sys.stdin.buffer.read())\n"
        f"write_classification(folder, source, table, 3, {COUNTS})\n"
    )
    (tmp_path / "third").mkdir()
    subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((tmp_path / "third", source, table)),
        check=True,
        capture_output=True,
    )
    assert contents(tmp_path / "third") == contents(tmp_path / "first" / "classification")


def test_the_pixels_are_the_ones_of_every_other_machine(fake_stamps) -> None:
    """Before JPEG, whose bytes change with Pillow's version; the lock file pins that."""
    source, table = fake_stamps
    digest = hashlib.sha256()
    for photo in plan_photos(table, COUNTS):
        image, mask = make_photo(photo, source, 0)
        digest.update(image.tobytes() + mask.tobytes())
    for scene in plan_scenes(table, 0, COUNTS):
        image, masks = make_scene(scene, source, 0)
        digest.update(b"".join(part.tobytes() for part in (image, *masks)))
    assert digest.hexdigest() == "d270a879a43ccc16888038805bd58522eeeb53b355513aecf85fd95b5e43c6f3"


def test_the_classification_sample_is_a_folder_that_prepare_reads_with_a_mask_for_each(fake_stamps, tmp_path) -> None:
    source, table = fake_stamps
    write_classification(tmp_path, source, table, 0, COUNTS)
    prepared = prepare(tmp_path, tiny(DataSettings))
    metrics = prepared.metrics
    assert metrics["layout"] == "image-folder-with-splits"
    assert prepared.classes == ["bird", "fish", "tool"]
    assert (metrics["train"], metrics["val"], metrics["test"], metrics["masks"]) == (12, 6, 6, 24)
    assert (metrics["rejected_count"], metrics["converted_count"], metrics["duplicate_groups"]) == (0, 0, 0)
    stems = Counter(Path(name).stem for name in prepared.manifest.frame["image_id"])
    assert set(stems.values()) == {1}


def test_a_mask_lies_on_the_object(fake_stamps, tmp_path: Path) -> None:
    source, table = fake_stamps
    write_classification(tmp_path, source, table, 0, COUNTS)
    for path in (tmp_path / "train" / "fish").iterdir():
        photo = np.asarray(open_photo(path), np.int64)
        mask = open_mask(tmp_path / "masks/train/fish" / f"{path.stem}.png", "binary")
        assert mask.shape == photo.shape[:2]
        assert 0.03 < mask.mean() < 0.9
        blue = photo[..., 2] - photo[..., :2].max(2)
        assert blue[mask == 1].mean() > 100


def test_every_background_is_of_its_size_and_its_generators_alone() -> None:
    for maker in CALM + BUSY:
        first, second = (maker(random.Random(5), (64, 48)) for _ in range(2))
        assert first.size == (64, 48)
        assert first.tobytes() == second.tobytes()
        assert first.tobytes() != maker(random.Random(6), (64, 48)).tobytes()


def test_the_table_has_twelve_classes_and_its_test_cutouts_are_never_trained_on() -> None:
    table = stamps()
    uses = defaultdict(set)
    for stamp in table:
        if stamp.category:
            uses[stamp.category].add(stamp.use)
    assert len(uses) == 12
    assert all(found == {"train", "val", "test"} for found in uses.values())
    assert len({stamp.path for stamp in table}) == len({stamp.sha256 for stamp in table}) == len(table)
    assert not any("mirror" in stamp.path for stamp in table)
    plan = plan_photos(table)
    shown = {split: {photo.stamp.path for photo in plan if photo.split == split} for split in PHOTOS_PER_CLASS}
    assert not shown["train"] & shown["test"]
    assert not shown["train"] & shown["val"]
    assert not shown["val"] & shown["test"]
    per_class = Counter((photo.split, photo.category) for photo in plan)
    assert {split: count for (split, _), count in per_class.items()} == PHOTOS_PER_CLASS
    assert len(set(per_class.values())) == 3


@pytest.mark.parametrize(
    "families",
    [["apple"], ["guitar"], ["heron"], ["lion"], ["tiger"], ["pig"], ["rabbit"], ["hen", "rooster", "chicken"]],
)
def test_cutouts_of_one_family_share_a_split(families: list[str]) -> None:
    uses = {
        stamp.use
        for stamp in stamps()
        if stamp.category and any(Path(stamp.path).stem.split("_")[0].split("-")[0] == name for name in families)
    }
    assert len(uses) == 1


def test_scenes_of_the_test_show_pairs_and_cutouts_that_training_never_shows() -> None:
    table = stamps()
    plan = plan_scenes(table, 0)
    assert Counter(scene.split for scene in plan) == SCENES
    pairs = defaultdict(set)
    shown = defaultdict(set)
    for scene in plan:
        shown[scene.split] |= {thing.stamp.path for thing in scene.things}
        if len(scene.things) == 2:
            pairs[scene.split].add(frozenset(thing.stamp.noun for thing in scene.things))
    assert not pairs["train"] & pairs["test"]
    assert not pairs["val"] & (pairs["train"] | pairs["test"])
    unseen = {stamp.path for stamp in table if stamp.scenes == "test"}
    assert unseen
    assert not unseen & (shown["train"] | shown["val"])
    nouns = Nouns(table, 0)
    for scene in plan:
        if scene.split == "test":
            assert all(t.stamp.scenes == "test" or t.stamp.noun not in nouns.unseen for t in scene.things)
            assert len(scene.things) == 2 or scene.things[0].stamp.scenes == "test"
    trained = {thing.stamp.noun for scene in plan if scene.split == "train" for thing in scene.things}
    assert trained == set(nouns.names)


def test_a_sentence_is_true_of_its_masks(fake_stamps) -> None:
    source, table = fake_stamps
    seen = set()
    for scene in plan_scenes(table, 1, {"train": 60, "val": 0, "test": 0}):
        image, masks = make_scene(scene, source, 1)
        assert [mask.size for mask in masks] == [image.size] * len(scene.things)
        seen.add(scene.relation)
        centres = [np.argwhere(np.asarray(mask)).mean(0) for mask in masks]
        if scene.relation == "above":
            assert centres[0][0] < centres[1][0]
        elif scene.relation == "below":
            assert centres[0][0] > centres[1][0]
        elif scene.relation == "to the left of":
            assert centres[0][1] < centres[1][1]
        elif scene.relation == "to the right of":
            assert centres[0][1] > centres[1][1]
        if len(masks) == 2:
            assert not (np.asarray(masks[0]) & np.asarray(masks[1])).any()
        for thing in scene.things:
            assert thing.phrase in (thing.stamp.noun, f"{thing.stamp.colour} {thing.stamp.noun}")
    assert seen == {"", "above", "below", "next to", "to the left of", "to the right of"}


def test_captions_name_files_that_are_there_and_objects_those_of_val_and_test(fake_stamps, tmp_path: Path) -> None:
    source, table = fake_stamps
    write_captioning(tmp_path, source, table, 0, {"train": 8, "val": 2, "test": 4})
    with (tmp_path / "captions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["image", "caption", "split"]
    assert all((tmp_path / "images" / row["image"]).is_file() for row in rows)
    objects = [json.loads(line) for line in (tmp_path / "objects.jsonl").read_text().splitlines()]
    captions = {row["image"]: row["caption"] for row in rows}
    assert {item["image"] for item in objects} == {row["image"] for row in rows if row["split"] != "train"}
    assert {item["mask"] for item in objects} == {f"masks/{path.name}" for path in (tmp_path / "masks").iterdir()}
    for item in objects:
        assert item["noun"] in captions[item["image"]].split()
        assert open_mask(tmp_path / item["mask"], "binary").any()


@pytest.mark.stickers
def test_every_real_cutout_is_found_and_shows_on_its_photo(tmp_path: Path) -> None:
    table = stamps()
    source = find_stamps(table, print)
    plan = plan_photos(table, {"train": 3, "val": 2, "test": 3})
    for photo in plan:
        image, mask = make_photo(photo, source, 0)
        assert image.size == mask.size
        assert 0.01 < np.asarray(mask).mean() / 255 < 0.95


def test_articles() -> None:
    assert with_article("owl") == "an owl"
    assert with_article("orange pig") == "an orange pig"
    assert with_article("red rose") == "a red rose"


def test_nobodys_own_photos_are_overwritten(tmp_path: Path) -> None:
    require_ours(tmp_path / "missing", "sources.csv")
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(AtlasError, match="is to be a folder"):
        require_ours(tmp_path / "link", "sources.csv", replace=True)
    (tmp_path / "link").unlink()
    require_ours(tmp_path, "sources.csv")
    (tmp_path / "mine.jpg").write_bytes(b"x")
    with pytest.raises(AtlasError, match="holds something else than the sample: move it away, or add --replace"):
        require_ours(tmp_path, "sources.csv")
    (tmp_path / "sources.csv").write_text("image,stamp\n")
    require_ours(tmp_path, "sources.csv")
