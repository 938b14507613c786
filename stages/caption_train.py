"""caption-train: a captioner trained on data/captioning, or a note of which published one is used."""

from vit_atlas.captioning.train.run import train_captioner
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    train_captioner(settings.captioner)


if __name__ == "__main__":
    run_stage(main)
