"""Fine-tuning as a whole, on a few small photos and a tiny random model."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import pipeline

from tests.tiny_models import save_pretrained
from tests.tiny_settings import tiny
from vit_atlas.data.manifest import COLUMNS, Manifest
from vit_atlas.errors import AtlasError
from vit_atlas.finetune.run import finetune
from vit_atlas.io.files import write_json
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.paths import CHECKPOINTS, CLASSES, HISTORY, MANIFEST, MODEL, TRUNK_CACHE
from vit_atlas.settings import AugmentSettings, FinetuneSettings, ModelSettings
from vit_atlas.training.loop import NetworkTrainer
from vit_atlas.training.record import read_training

CLASSES_MADE = ["blue", "red"]
SPLITS = ["train"] * 5 + ["val"] * 2 + ["test"]


class StoppedError(Exception):
    """In the place of a power cut."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with prepared photos, one colour a class."""
    monkeypatch.chdir(tmp_path)
    fill_project()
    return tmp_path


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, float]]]:
    """Record what would be streamed."""
    sent: list[tuple[int, dict[str, float]]] = []

    class Recorder:
        def log(self, step: int, metrics: dict[str, float]) -> None:
            sent.append((step, dict(metrics)))

    @contextmanager
    def open_recorder(key: str, params: Any) -> Iterator[Recorder]:
        yield Recorder()

    monkeypatch.setattr("vit_atlas.finetune.run.open_stream", open_recorder)
    return sent


def fill_project() -> None:
    generator = np.random.default_rng(0)
    rows = []
    for label, name in enumerate(CLASSES_MADE):
        for number, split in enumerate(SPLITS):
            pixels = generator.integers(0, 120, (24, 30, 3), dtype=np.uint8)
            pixels[..., 2 * (1 - label)] += 130
            path = Path(f"data/classification/{name}/{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            if split == "test":
                path.write_bytes(b"the test split is not opened")
            else:
                Image.fromarray(pixels).save(path)
            row = dict.fromkeys(COLUMNS, "") | {"image_id": f"{name}/{number}.png", "path": path.as_posix()}
            row["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
            rows.append(row | {"split": split, "label": label, "class_name": name, "width": 30, "height": 24})
    Manifest(pd.DataFrame(rows)).write()
    write_json(CLASSES, CLASSES_MADE)
    save_pretrained("vit", Path("pretrained"))


def run(**changed: Any) -> None:
    defaults = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "trainable_blocks": 2, "checkpoint_steps": 2}
    finetune(
        tiny(ModelSettings, name="pretrained"),
        tiny(AugmentSettings, crop_scale=(0.5, 1.0)),
        tiny(FinetuneSettings, **defaults | changed),
    )


def outputs() -> tuple[bytes, bytes]:
    return (MODEL / "model.safetensors").read_bytes(), HISTORY.read_bytes()


@pytest.mark.parametrize("trainable_blocks", ["all", 0, 2, 4])
def test_learns_colours_and_leaves_no_checkpoint(project: Path, trainable_blocks: Any) -> None:
    run(trainable_blocks=trainable_blocks, epochs=6)
    history = pd.read_csv(HISTORY)
    assert history.columns.tolist() == ["step", "epoch", "train_loss", "learning_rate", "val_loss", "val_accuracy"]
    assert history["step"].iloc[-1] == 18
    assert history["val_accuracy"].count() == 6
    assert history["val_accuracy"].max() == 1.0
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert {path.name for path in (project / CHECKPOINTS).iterdir()} == {"finetune.lock", "training.json"}
    record = read_training()
    assert record is not None
    assert (record.precision, record.resumed) == ("float32", False)
    assert record.seconds > 0


def test_saved_model_is_the_best_epochs_and_works_in_a_pipeline(project: Path) -> None:
    run(epochs=6)
    predict = pipeline("image-classification", str(MODEL))
    paths = [f"data/classification/{name}/{number}.png" for name in CLASSES_MADE for number in (5, 6)]
    guesses = [scores[0]["label"] for scores in predict(paths)]
    history = pd.read_csv(HISTORY)
    truth = ["blue", "blue", "red", "red"]
    assert np.mean([guess == name for guess, name in zip(guesses, truth, strict=True)]) == history["val_accuracy"].max()


@pytest.mark.parametrize(("trainable_blocks", "frozen"), [(0, 4), (1, 3), (3, 1)])
def test_frozen_blocks_stay_and_the_others_learn(project: Path, trainable_blocks: int, frozen: int) -> None:
    run(trainable_blocks=trainable_blocks)
    before = load_pretrained(tiny(ModelSettings, name="pretrained"), CLASSES_MADE, 0).model.vit
    after = load_finetuned().model.vit
    changed = [
        not torch.equal(old.mlp.fc1.weight, new.mlp.fc1.weight)
        for old, new in zip(before.layers, after.layers, strict=True)
    ]
    assert changed == [False] * frozen + [True] * (4 - frozen)
    assert torch.equal(before.embeddings.position_embeddings, after.embeddings.position_embeddings)
    assert torch.equal(before.layernorm.weight, after.layernorm.weight) == (trainable_blocks == 0)


def test_cached_trunk_trains_as_the_frozen_model_would(project: Path) -> None:
    """With as many views as epochs the cache changes nothing but the precision of the trunk's output."""
    run(trainable_blocks=4, cached_views=3, learning_rate=1e-3)
    cached = pd.read_csv(HISTORY)
    model = load_pretrained(tiny(ModelSettings, name="pretrained"), CLASSES_MADE, 0)
    embeddings = model.model.vit.embeddings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vit_atlas.finetune.run.load_pretrained", lambda *_: model)
        embeddings.requires_grad_(False)
        run(trainable_blocks="all", learning_rate=1e-3)
    full = pd.read_csv(HISTORY)
    np.testing.assert_allclose(cached["train_loss"], full["train_loss"], rtol=2e-3)
    np.testing.assert_allclose(cached["val_loss"], full["val_loss"], rtol=2e-3)


@pytest.mark.parametrize("trainable_blocks", ["all", 2])
def test_two_folders_give_the_same_bytes(
    trainable_blocks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for name, workers in (("one", 0), ("two", 2)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        fill_project()
        torch.manual_seed(len(made))
        run(trainable_blocks=trainable_blocks, workers=workers)
        made.append({path.name: path.read_bytes() for path in [*MODEL.iterdir(), HISTORY]})
    assert made[0] == made[1]


@pytest.mark.parametrize("trainable_blocks", ["all", 2])
@pytest.mark.parametrize("stop_after", [1, 2, 3, 5, 8])
def test_resumed_equals_uninterrupted(
    project: Path, monkeypatch: pytest.MonkeyPatch, trainable_blocks: Any, stop_after: int
) -> None:
    run(trainable_blocks=trainable_blocks)
    expected = outputs()
    (MODEL / "model.safetensors").unlink()
    with monkeypatch.context() as patch:
        interrupt(patch, stop_after)
        with pytest.raises(StoppedError):
            run(trainable_blocks=trainable_blocks)
    assert not (MODEL / "model.safetensors").exists()
    done = count_steps(monkeypatch)
    run(trainable_blocks=trainable_blocks)
    assert len(done) == 9 - stop_after // 2 * 2
    assert outputs() == expected


def test_a_checkpoint_cut_off_while_written_is_not_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    expected = outputs()
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        with pytest.raises(StoppedError):
            run()
    folder = next(CHECKPOINTS.iterdir())
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    (folder / "checkpoint-4" / "complete.json").unlink()
    (folder / "checkpoint-4" / "optimizer.pt").write_bytes(b"half")
    done = count_steps(monkeypatch)
    run()
    assert len(done) == 9 - 2
    assert outputs() == expected


@pytest.mark.parametrize("change", ["settings", "photos", "weights"])
def test_a_checkpoint_of_another_training_is_not_used(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, 5)
        with pytest.raises(StoppedError):
            run()
    changed: dict[str, Any] = {}
    if change == "settings":
        changed["weight_decay"] = 0.1
    elif change == "photos":
        MANIFEST.write_text(MANIFEST.read_text().replace("blue/0.png", "blue/00.png", 1))
    else:
        save_pretrained("vit", Path("pretrained"), hidden_act="relu", layer_norm_eps=1e-5)
        edit_weights(Path("pretrained/model.safetensors"))
    done = count_steps(monkeypatch)
    run(**changed)
    assert len(done) == 9


def test_curves_that_are_streamed_are_those_of_the_history(
    project: Path, no_tracking: list[tuple[int, dict[str, float]]]
) -> None:
    run()
    history = pd.read_csv(HISTORY).set_index("step")
    for step, metrics in no_tracking:
        for name, value in metrics.items():
            assert history.loc[step, name] == pytest.approx(value, rel=1e-7)
    assert sum("val_accuracy" in metrics for _, metrics in no_tracking) == 3


def test_a_diverging_training_stops_with_a_sentence(project: Path) -> None:
    with pytest.raises(AtlasError, match=r"training diverged, lower finetune\.learning_rate"):
        run(learning_rate=1e30, warmup_ratio=0.0)
    assert not MODEL.exists()


def test_no_room_for_the_trunk_cache(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vit_atlas.io.files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(AtlasError, match=r"trunk cache .* lower finetune\.cached_views, or set finetune\.trainable"):
        run()
    assert not TRUNK_CACHE.exists()
    assert not MODEL.exists()


def test_disk_that_fills_up_unseen(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(AtlasError, match=r"no room for the trunk cache .*No space left on device"):
        run()
    assert not TRUNK_CACHE.exists()


def test_activations_too_large_for_half_precision(project: Path) -> None:
    edit_weights(Path("pretrained/model.safetensors"), scale=1e6)
    with pytest.raises(AtlasError, match="too large for the trunk cache's half precision"):
        run()


def test_more_blocks_than_there_are(project: Path) -> None:
    with pytest.raises(AtlasError, match=r"finetune\.trainable_blocks is 5, but the model has 4 blocks"):
        run(trainable_blocks=5)


def test_split_without_photos(project: Path) -> None:
    MANIFEST.write_text(MANIFEST.read_text().replace(",val,", ",test,"))
    with pytest.raises(AtlasError, match="no photo of the split `val`"):
        run()


def test_progress_bars_tell_the_time_left(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    shown = capsys.readouterr().err
    assert "frozen blocks, view 1 of 3: 100%" in shown
    assert "frozen blocks, validation photos: 100%" in shown
    assert "training: 100%" in shown
    assert "9/9" in shown


def interrupt(patch: pytest.MonkeyPatch, after: int) -> list[int]:
    """Make training fail at the step after ``after`` whole ones; the list grows with every step begun."""
    return _watch(patch, lambda begun: begun > after)


def count_steps(patch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every training step."""
    return _watch(patch, lambda _: False)


def _watch(patch: pytest.MonkeyPatch, stop: Callable[[int], bool]) -> list[int]:
    begun: list[int] = []
    original = NetworkTrainer.training_step

    def step(self: Any, *args: Any, **options: Any) -> Any:
        begun.append(1)
        if stop(len(begun)):
            raise StoppedError
        return original(self, *args, **options)

    patch.setattr(NetworkTrainer, "training_step", step)
    return begun


def edit_weights(path: Path, scale: float = 1.5) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    name = next(name for name in weights if "projection.weight" in name)
    save_file(weights | {name: weights[name] * scale}, path, metadata={"format": "pt"})


def test_bfloat16_trains_with_no_accelerator_either(project: Path) -> None:
    run(precision="bfloat16", epochs=1)
    assert HISTORY.is_file()


def test_a_checkpoint_is_not_resumed_where_auto_means_another_precision(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def amx(there: bool) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: there)

    amx(True)
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(StoppedError):
            run(precision="auto")
    amx(False)
    run(precision="auto")
    record = read_training()
    assert record is not None
    assert (record.precision, record.resumed) == ("float32", False)


def test_a_head_from_the_probe_is_interrupted_and_ends_the_same(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(head_init="probe")
    expected = outputs()
    assert pd.read_csv(HISTORY)["val_accuracy"].dropna().iloc[0] == 1.0
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(StoppedError):
            run(head_init="probe")
    run(head_init="probe")
    assert outputs() == expected


def test_a_training_that_makes_things_worse_keeps_its_starting_point_and_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(head_init="probe", learning_rate=3.0, warmup_ratio=0.0)
    history = pd.read_csv(HISTORY)
    assert history["step"].iloc[0] == 0
    assert history["val_accuracy"].iloc[0] == history["val_accuracy"].max() == 1.0
    assert "no epoch was better on the validation photos than the starting point" in capsys.readouterr().err
    model = load_finetuned().model
    start = load_pretrained(tiny(ModelSettings, name="pretrained"), CLASSES_MADE, 0).model
    assert torch.equal(model.vit.layers[-1].mlp.fc1.weight, start.vit.layers[-1].mlp.fc1.weight)


def test_a_training_that_helps_does_not_keep_its_starting_point(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(head_init="random", epochs=6)
    assert "starting point" not in capsys.readouterr().err
    assert pd.read_csv(HISTORY)["step"].iloc[0] > 0


def test_the_card_tells_the_accuracy_of_the_epoch_that_was_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by balanced accuracy, it need not be the epoch with the highest accuracy."""
    epochs = iter([(0.9, 0.5), (0.6, 0.8), (0.7, 0.7)])

    def scripted(predicted: object) -> dict[str, float]:
        accuracy, balanced = next(epochs)
        return {"accuracy": accuracy, "balanced_accuracy": balanced, "balanced_loss": 1.0}

    monkeypatch.setattr("vit_atlas.training.loop.validation_results", scripted)
    run(sampling="balanced", epochs=3)
    card = (MODEL / "README.md").read_text()
    assert "validation photos: 0.600." in card
    assert "In this model the head reads the class token:" in card


@pytest.mark.parametrize("way", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_rare_classes_count_as_much(project: Path, way: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With five photos of one class and four of the other: other weights, the same whether interrupted or not."""
    manifest = Manifest.read()
    Manifest(manifest.frame.drop(manifest.frame.query("class_name == 'red' and split == 'train'").index[0])).write()
    run(**way)
    expected = outputs()
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(StoppedError):
            run(**way)
    run(**way)
    assert outputs() == expected
    run()
    assert outputs() != expected
