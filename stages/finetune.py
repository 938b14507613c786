"""finetune: the pretrained Vision Transformer, trained on the training photos."""

from vit_atlas.finetune.run import finetune
from vit_atlas.processes import launch
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    if not launch(__file__, settings.finetune.processes):
        finetune(settings.model, settings.augment, settings.finetune)


if __name__ == "__main__":
    run_stage(main)
