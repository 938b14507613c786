"""Fine-tune the pretrained Vision Transformer on the training photos."""

from vit_atlas.settings import read_settings
from vit_atlas.stage import run_stage


def main() -> None:
    from vit_atlas.training import finetune

    finetune(*read_settings("model", "augment", "finetune"))


if __name__ == "__main__":
    run_stage(main)
