"""What a training leaves for the next one, and that no result depends on it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.finetune.test_run import edit_weights, outputs, project, run
from vit_atlas.data.manifest import Manifest
from vit_atlas.finetune import cache, head, tokens
from vit_atlas.finetune.probe import read_features
from vit_atlas.paths import MANIFEST, TRUNK_CACHE

__all__ = ["project"]

TRAIN, VAL = 10, 4
ALL = 3 * TRAIN + VAL
"""Photos that go through the trunk: each of three epochs has its own view."""
CLEAN = TRAIN + VAL
"""Photos that go through the whole network, for the probe."""


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many photos went through the trunk and through the whole pretrained network."""
    counts = {"trunk": 0, "whole": 0}
    trunk, whole = tokens._forward, head.forward

    def through_trunk(module: Any, pixels: Any, bfloat16: bool) -> Any:
        counts["trunk"] += len(pixels)
        return trunk(module, pixels, bfloat16)

    def through_all(finetuned: Any, pretrained: Any, paths: Any, *rest: Any) -> Any:
        counts["whole"] += len(paths)
        return whole(finetuned, pretrained, paths, *rest)

    monkeypatch.setattr(tokens, "_forward", through_trunk)
    monkeypatch.setattr(head, "forward", through_all)
    return counts


def again(passed: dict[str, int], **changed: Any) -> tuple[int, int]:
    """Train, and tell how many photos went through the trunk and the whole network."""
    passed.update(trunk=0, whole=0)
    run(**changed)
    return passed["trunk"], passed["whole"]


def arrays() -> list[Path]:
    return sorted(TRUNK_CACHE.glob("*.values"))


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 3e-3}, {"batch_size": 5}, {"head_init": "probe"}, {"label_smoothing": 0.0}]
)
def test_another_setting_of_the_training_runs_no_network_and_ends_as_without_a_cache(
    project: Path, passed: dict[str, int], changed: dict[str, Any]
) -> None:
    assert again(passed) == (ALL, CLEAN)
    assert again(passed, **changed) == (0, 0)
    with_cache = outputs()
    shutil.rmtree(TRUNK_CACHE)
    assert again(passed, **changed) == (ALL, CLEAN)
    assert outputs() == with_cache


def test_more_views_and_fewer_frozen_blocks(project: Path, passed: dict[str, int]) -> None:
    assert again(passed, cached_views=1) == (TRAIN + VAL, CLEAN)
    assert again(passed, cached_views=2) == (TRAIN, 0)
    assert again(passed, cached_views=2, trainable_blocks=3) == (2 * TRAIN + VAL, 0)
    assert again(passed, trainable_blocks="all") == (0, 0)


def other_photo() -> None:
    manifest = Manifest.read()
    place = int(np.flatnonzero(manifest.frame["split"] == "train")[0])
    shutil.copy(manifest.paths[place + 1], manifest.paths[place])
    manifest.frame.loc[place, "sha256"] = manifest.frame.loc[place + 1, "sha256"]
    manifest.write()


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        (other_photo, {}, (3 * TRAIN, TRAIN)),
        (lambda: edit_weights(Path("pretrained/model.safetensors")), {}, (ALL, CLEAN)),
        (lambda: None, {"seed": 1}, (0, 0)),
        (lambda: None, {"precision": "bfloat16"}, (ALL, CLEAN)),
        (lambda: MANIFEST.write_text(MANIFEST.read_text().replace("blue/0.png,", "blue/00.png,", 1)), {}, (30, 0)),
    ],
    ids=["photo", "weights", "seed of the head, nothing", "precision", "name, which the augmentation depends on"],
)
def test_what_the_values_depend_on_makes_new_ones(
    project: Path,
    passed: dict[str, int],
    change: Callable[[], None],
    settings: dict[str, Any],
    expected: tuple[int, int],
) -> None:
    run()
    change()
    assert again(passed, **settings) == expected


def test_a_damaged_file_is_computed_again_and_said(
    project: Path, passed: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    expected = outputs()
    damaged = max(arrays(), key=lambda path: path.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert again(passed) == (TRAIN, 0)
    assert f"{damaged} is not as it was written" in capsys.readouterr().err
    assert outputs() == expected
    for path in arrays():
        path.write_bytes(path.read_bytes()[:-1])
    assert again(passed) == (ALL, CLEAN)
    for path in TRUNK_CACHE.glob("*.json"):
        path.write_text("{")
    assert again(passed) == (ALL, CLEAN)
    assert outputs() == expected


def test_views_that_were_whole_when_a_run_was_cut_off_are_kept(
    project: Path, passed: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = tokens._forward

    def failing(*args: Any) -> Any:
        if passed["trunk"] == 2 * TRAIN:
            raise KeyboardInterrupt
        return counting(*args)

    with monkeypatch.context() as patch:
        patch.setattr(tokens, "_forward", failing)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert len(arrays()) == 2 + 2, "two views, and the features of two splits"
    assert again(passed) == (TRAIN + VAL, 0)


def test_what_a_killed_run_left_half_written_is_cleared(project: Path) -> None:
    TRUNK_CACHE.mkdir()
    (TRUNK_CACHE / "0.values").write_bytes(b"half")
    run(trunk_cache_gb=0)
    assert not TRUNK_CACHE.exists()


def test_the_least_recently_used_go_first(project: Path, passed: dict[str, int]) -> None:
    run(cached_views=1, epochs=1)
    first = set(arrays())
    run(cached_views=1, epochs=1, trainable_blocks=1)
    assert len(arrays()) == len(first) + 2, "another trunk, the same features"
    size = sum(path.stat().st_size for path in arrays())
    assert again(passed, cached_views=1, epochs=1, trunk_cache_gb=(size - 1) / 1e9) == (0, 0)
    assert first < set(arrays()), "what this training needed"
    assert len(arrays()) == len(first) + 1
    assert again(passed, cached_views=1, epochs=1, trunk_cache_gb=0) == (0, 0)
    assert not TRUNK_CACHE.exists()


def test_arrays_that_are_not_needed_give_way_on_a_small_disk(
    project: Path, passed: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(cached_views=1, epochs=1)
    old = set(arrays())
    monkeypatch.setattr(cache, "free_space", lambda _: 10**6 if len(old & set(arrays())) < len(old) else 1000)
    assert again(passed, cached_views=1, epochs=1, trainable_blocks=1) == (TRAIN + VAL, 0)
    assert len(old & set(arrays())) == len(old) - 1, "the one that was not used for longest, and no more"


def test_features_are_an_out(project: Path) -> None:
    run()
    kept = read_features()
    assert {name: values.shape for name, values in kept.items()} == {"train": (TRAIN, 16), "val": (VAL, 16)}
    assert all(values.dtype == np.float32 for values in kept.values())


def test_without_a_probe_no_network_runs_for_it(project: Path, passed: dict[str, int]) -> None:
    assert again(passed, linear_probe=False) == (ALL, 0)
    assert not list(Path("build/probe").iterdir())
