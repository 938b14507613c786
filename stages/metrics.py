"""metrics: what the other stages measured, as the numbers and tables that git keeps."""

from vit_atlas.attention import summary as attention
from vit_atlas.captioning.measure import summary as captions
from vit_atlas.data import summary as prepared
from vit_atlas.evaluation import summary as evaluation
from vit_atlas.interventions import summary as interventions
from vit_atlas.io.summary import write_summary
from vit_atlas.repeats import summary as repeats
from vit_atlas.repeats.seeds import forget_others
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage

SUMMARIES = (prepared, evaluation, repeats, interventions, captions)


def main() -> None:
    settings = load_settings()
    forget_others(settings.finetune, settings.captions)
    write_summary(attention.summarise_embeddings(settings))
    for part in SUMMARIES:
        write_summary(part.summarise(settings))


if __name__ == "__main__":
    run_stage(main)
