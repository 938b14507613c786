"""Fine-tune the pretrained Vision Transformer on the training photos."""

from vit_atlas.settings import read_settings
from vit_atlas.stage import run_stage


def main() -> None:
    model, augment, settings = read_settings("model", "augment", "finetune")

    from vit_atlas.finetune.run import finetune
    from vit_atlas.training.processes import launch

    if not launch(__file__, settings.processes):
        finetune(model, augment, settings)


if __name__ == "__main__":
    run_stage(main)
