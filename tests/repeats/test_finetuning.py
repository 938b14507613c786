"""A repeat of finetune answers as the whole network would, and its frozen blocks see the test photos once."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.finetune.test_run import fill_project
from tests.tiny_settings import tiny
from vit_atlas.attention.methods import forward_only
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.predict import predict
from vit_atlas.repeats import finetuning
from vit_atlas.settings import AttentionSettings, AugmentSettings, EvaluateSettings, FinetuneSettings, ModelSettings


@pytest.mark.parametrize("trainable_blocks", [1, "all"])
def test_a_repeat_answers_as_the_whole_network_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trainable_blocks: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    fill_project()
    frame = Manifest.read().frame
    for row, path in enumerate(map(Path, frame["path"])):
        if frame.loc[row, "split"] == "test":
            shutil.copy(path.with_name("0.png"), path)
            frame.loc[row, "sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    Manifest(frame).write()
    evaluate = tiny(EvaluateSettings)
    whole: list[pd.DataFrame] = []

    def map_scores(training: Any, _: AttentionSettings) -> pd.DataFrame:
        whole.append(predict(training.manifest, read_classes(), training.classifier, None, evaluate)[0])
        return pd.DataFrame({"image_id": []})

    monkeypatch.setattr(finetuning, "_map_scores", map_scores)
    said = []
    for seed in (5, 6):
        settings = tiny(FinetuneSettings, epochs=2, batch_size=4, learning_rate=1e-2, trainable_blocks=trainable_blocks)
        model, augment = tiny(ModelSettings, name="pretrained"), tiny(AugmentSettings)
        finetuning.repeat_finetune(seed, model, augment, settings, evaluate, tiny(AttentionSettings))
        found = pd.read_csv(f"build/trainings/finetune/{seed}/predictions.csv")
        pd.testing.assert_frame_equal(found, whole[-1].reset_index(drop=True), check_dtype=False, atol=1e-5)
        said.append("frozen blocks, test photos" in capsys.readouterr().err)
    assert said == ([True, False] if trainable_blocks == 1 else [False, False])


def test_repeats_are_scored_by_methods_that_need_neither_class_nor_chosen_head() -> None:
    assert {"head_mean", "rollout", "gaussian"} <= {*forward_only()}
    assert not {"best_head", "relevance", "gradcam", "attnlrp"} & {*forward_only()}
