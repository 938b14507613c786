"""interventions: what happens to the answer when the object, the background, or the look itself is taken away."""

from vit_atlas.data.manifest import Manifest
from vit_atlas.figures.interventions import draw_interventions
from vit_atlas.figures.style import save
from vit_atlas.interventions.answers import strangest
from vit_atlas.interventions.measure import blurred_versions, run_interventions
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.paths import INTERVENTION_PICTURE, INTERVENTIONS
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings().interventions
    classifier, test = load_finetuned(), Manifest.read().require("test")
    table = run_interventions(classifier, test, settings)
    write_csv(INTERVENTIONS, table)
    rows = []
    for photo, versions in blurred_versions(classifier, test.find(strangest(table, settings.drawn)), settings):
        answers = {v.name: (v.pixels, v.answer[photo.label], v.answer.argmax() == photo.label) for v in versions}
        rows.append((photo.image_id, answers))
    save(draw_interventions(rows), INTERVENTION_PICTURE)


if __name__ == "__main__":
    run_stage(main)
