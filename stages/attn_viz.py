"""attn-viz: where the class token looks, drawn on chosen photos and scored on all test photos that have a mask."""

import pandas as pd
import torch

from vit_atlas.attention.photos import choose_photos, read_predictions
from vit_atlas.attention.pictures import draw_photos, draw_study, study_diagnoses, study_histogram
from vit_atlas.attention.study import run_study
from vit_atlas.attention.summary import artefact_metrics, study_metrics
from vit_atlas.attention.tables import method_table
from vit_atlas.comparison.maps import save_maps
from vit_atlas.data.manifest import read_manifest
from vit_atlas.io.files import atomic_file, atomic_folder, write_json
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.page_data.attention import Explorer
from vit_atlas.paths import ATTENTION_DATA, ATTENTION_METRICS, ATTENTION_PLOTS, ATTENTION_SCORES
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings().attention
    classifier, manifest = load_finetuned(), read_manifest()
    classifier.model.to("cuda" if torch.cuda.is_available() else "cpu")
    predictions = read_predictions()
    image_ids = choose_photos(settings.photos, settings.count, manifest, predictions, classifier.layout.patch)

    study = run_study(classifier, manifest, settings)
    histogram = study_histogram(study, classifier, manifest, image_ids)
    diagnoses = study_diagnoses(study, histogram)
    metrics = {"photos_drawn": len(image_ids)} | study_metrics(study, settings)
    metrics |= artefact_metrics(diagnoses, len(histogram.thresholds), histogram.thresholds[-1])

    explorer = Explorer(classifier, settings.layer)
    with atomic_folder(ATTENTION_PLOTS) as folder:
        maps = draw_photos(classifier, manifest, image_ids, study, histogram, settings, folder, explorer.add)
        draw_study(study, metrics, histogram, folder)
    with atomic_folder(ATTENTION_DATA) as folder:
        save_maps(folder / "maps.npz", maps)
        explorer.save(folder, maps["methods"].tolist())
        scores = pd.merge(study.scores, study.faithfulness, how="left", on=["image_id", "method"])
        scores.to_csv(folder / "scores.csv", index=False, lineterminator="\n")
    with atomic_file(ATTENTION_SCORES) as temporary:
        method_table(metrics).to_csv(temporary, index=False, lineterminator="\n")
    write_json(ATTENTION_METRICS, metrics)


if __name__ == "__main__":
    run_stage(main)
