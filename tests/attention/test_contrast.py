"""Maps of the drawn photos for the true class, and before fine-tuning: which there are, and what is written of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_settings import tiny
from vit_atlas.attention.maps import MapOptions, make_maps
from vit_atlas.attention.methods import class_specific, head_free
from vit_atlas.attention.passes import run_pass
from vit_atlas.attention.study import run_study
from vit_atlas.attention.summary import pair_metrics
from vit_atlas.errors import AtlasError
from vit_atlas.estimates import Estimate
from vit_atlas.io.arrays import read_arrays
from vit_atlas.io.frames import read_csv
from vit_atlas.models.classifier import Classifier
from vit_atlas.paths import ATTENTION_DATA, ATTENTION_PLOTS
from vit_atlas.pictures.attention import write_and_draw
from vit_atlas.settings import AttentionSettings

from .conftest import Project, tiny_model

SETTINGS = tiny(AttentionSettings, count=2, scored_photos=8, faithfulness_photos=0, bootstrap_samples=200)


def _names(folder: str) -> set[str]:
    return {path.stem for path in (ATTENTION_PLOTS / folder).iterdir()}


def test_wrong_photos_are_drawn_for_their_class_and_all_before_fine_tuning(project: Project) -> None:
    photos = project.manifest.find(["0.png", "1.png", "2.png"])
    write_and_draw(
        project.classifier,
        project.pretrained,
        photos,
        run_study(project.classifier, project.manifest, SETTINGS),
        SETTINGS,
    )
    arrays = read_arrays(ATTENTION_DATA / "pairs.npz", "attn-viz")
    wrong = []
    for photo in photos:
        pixels = project.classifier.pixel_values([photo.open()])
        trace = run_pass(project.classifier, pixels, torch.tensor([photo.label]))
        if int(trace.logits.argmax()) != photo.label:
            wrong.append(photo.image_id)
            expected = make_maps(trace, [photo.image_id], class_specific(SETTINGS.methods), MapOptions())
            found = arrays["true"][list(arrays["true_photos"]).index(photo.image_id)]
            for name, values in zip(arrays["true_methods"], found, strict=True):
                np.testing.assert_allclose(values, expected[name][0], atol=1e-6, rtol=1e-4)
        trace = run_pass(project.pretrained, pixels, gradients=False)
        expected = make_maps(trace, [photo.image_id], ["rollout"], MapOptions())["rollout"][0]
        found = arrays["before"][list(arrays["before_photos"]).index(photo.image_id)]
        np.testing.assert_allclose(found[list(arrays["before_methods"]).index("rollout")], expected, rtol=1e-4)
    assert 0 < len(wrong) < 3, "the photos must be of both kinds"
    assert list(arrays["true_photos"]) == wrong
    assert list(arrays["true_methods"]) == class_specific(SETTINGS.methods)
    assert list(arrays["before_methods"]) == head_free(SETTINGS.methods)
    assert _names("why_not") == {Path(name).stem for name in wrong}
    assert _names("before_after") == {"0", "1", "2"}
    table = read_csv(ATTENTION_DATA / "pairs.csv", "attn-viz", ("image_id", "pair", "method"))
    assert len(table) == len(wrong) * len(class_specific(SETTINGS.methods)) + 3 * len(head_free(SETTINGS.methods))
    assert table["moved"].between(0, 1).all()
    metrics = pair_metrics(table, SETTINGS)
    rollout = table.loc[(table["method"] == "rollout"), "moved"]
    assert Estimate.read(metrics, "rollout.moved_before_after") == Estimate.mean(rollout, 200, SETTINGS.seed)
    assert metrics["gradcam.moved_why_not"] > 0


def test_a_right_guess_has_no_other_class(project: Project) -> None:
    guesses = {photo.image_id: photo.label for photo in project.manifest}
    right = []
    for photo in project.manifest.split("test"):
        trace = run_pass(project.classifier, project.classifier.pixel_values([photo.open()]), gradients=False)
        right += [photo.image_id] if int(trace.logits.argmax()) == guesses[photo.image_id] else []
    write_and_draw(
        project.classifier,
        project.pretrained,
        project.manifest.find(right[:1]),
        run_study(project.classifier, project.manifest, SETTINGS),
        SETTINGS,
    )
    assert not (ATTENTION_PLOTS / "why_not").exists()
    assert len(read_arrays(ATTENTION_DATA / "pairs.npz", "attn-viz")["true"]) == 0
    table = read_csv(ATTENTION_DATA / "pairs.csv", "attn-viz", ("image_id", "pair", "method"))
    assert pair_metrics(table, SETTINGS)["gradcam.moved_why_not"] is None


def test_models_of_two_grids_are_told_apart(project: Project) -> None:
    other = tiny_model("dinov2", patch_size=2)
    study = run_study(project.classifier, project.manifest, SETTINGS)
    with pytest.raises(AtlasError, match="grid of 8x10 patches and the fine-tuned one of 4x5: run `dvc"):
        write_and_draw(
            project.classifier,
            Classifier(other, project.pretrained.processor),
            project.manifest.find(["0.png"]),
            study,
            SETTINGS,
        )
