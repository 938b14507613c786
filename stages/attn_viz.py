"""attn-viz: where the class token looks, on chosen photos."""

import pandas as pd

from vit_atlas.attention.photos import choose_photos
from vit_atlas.attention.pictures import draw_chosen, look_at, map_spread, progress
from vit_atlas.data.manifest import read_manifest
from vit_atlas.errors import AtlasError
from vit_atlas.files import atomic_folder, write_json
from vit_atlas.models.loading import load_finetuned
from vit_atlas.paths import ATTENTION_METRICS, ATTENTION_PLOTS, PREDICTIONS
from vit_atlas.settings import read_settings
from vit_atlas.stage import run_stage


def main() -> None:
    (attention,) = read_settings("attention")
    classifier, manifest = load_finetuned(), read_manifest()
    if not PREDICTIONS.is_file():
        raise AtlasError(f"{PREDICTIONS} does not exist: run `dvc repro evaluate` first")
    predictions = pd.read_csv(PREDICTIONS, dtype=str, keep_default_na=False)
    names = choose_photos(attention.photos, attention.count, manifest, predictions)
    spreads = []
    with atomic_folder(ATTENTION_PLOTS) as folder:
        looks = look_at(classifier, manifest, names, gradients=False)
        for chosen in progress(looks, len(names), "Drawing attention"):
            draw_chosen(chosen, attention.layer, folder)
            spreads.append(map_spread(chosen.seen.class_rows(attention.layer)[0].mean(dim=0).numpy()))
    write_json(ATTENTION_METRICS, {"photos_drawn": len(names), "head_mean.spread": sum(spreads) / len(spreads)})


if __name__ == "__main__":
    run_stage(main)
