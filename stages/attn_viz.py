"""attn-viz: where the class token looks, drawn on chosen photos and scored on test photos that have a mask."""

from vit_atlas.attention.photos import choose_photos, read_predictions
from vit_atlas.attention.study import run_study
from vit_atlas.data.manifest import Manifest
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.pictures.attention import write_and_draw
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings().attention
    classifier, manifest = load_finetuned().to_device(), Manifest.read()
    drawn = choose_photos(settings.photos, settings.count, manifest, read_predictions(), classifier.layout.patch)
    study = run_study(classifier, manifest, settings, drawn)
    write_and_draw(classifier, manifest.find(drawn), study, settings)


if __name__ == "__main__":
    run_stage(main)
