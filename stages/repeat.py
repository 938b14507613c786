"""repeat: finetune once more with another seed, and what evaluation needs of it."""

import sys

from vit_atlas.processes import launch
from vit_atlas.repeats.finetuning import repeat_finetune
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    seed = sys.argv[1]
    if not launch(__file__, settings.finetune.processes, seed):
        repeat_finetune(
            int(seed), settings.model, settings.augment, settings.finetune, settings.evaluate, settings.attention
        )


if __name__ == "__main__":
    run_stage(main)
