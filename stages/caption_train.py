"""Train a captioner on data/captioning, or write down which published one is used."""

from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    from vit_atlas.captioning.train.run import train_captioner

    settings = load_settings()
    train_captioner(settings.captioner)


if __name__ == "__main__":
    run_stage(main)
