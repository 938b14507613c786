"""interventions: what happens to the answer when the object, the background, or the look itself is taken away."""

from vit_atlas.data.manifest import Manifest
from vit_atlas.interventions.measure import run_interventions
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.paths import INTERVENTIONS
from vit_atlas.pictures.interventions import draw_strangest
from vit_atlas.processes import is_first, joined, launch
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    if launch(__file__, settings.finetune.processes):
        return
    with joined():
        classifier, test = load_finetuned().to_device(), Manifest.read(masks=True).require("test")
        table = run_interventions(classifier, test, settings.interventions)
        if is_first():
            write_csv(INTERVENTIONS, table)
            draw_strangest(classifier, test, table, settings.interventions)


if __name__ == "__main__":
    run_stage(main)
