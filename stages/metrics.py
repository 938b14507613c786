"""metrics: what the other stages measured, as the numbers and tables that git keeps."""

from vit_atlas.data import summary as prepared
from vit_atlas.evaluation import summary as evaluation
from vit_atlas.interventions import summary as interventions
from vit_atlas.io.summary import write_summary
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage

ROOMS = (prepared, evaluation, interventions)


def main() -> None:
    settings = load_settings()
    for room in ROOMS:
        write_summary(room.summarise(settings))


if __name__ == "__main__":
    run_stage(main)
