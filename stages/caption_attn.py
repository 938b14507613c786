"""Caption the photos, measure the captions and where their words looked, and draw both."""

from vit_atlas.settings import read_settings
from vit_atlas.stage import run_stage


def main() -> None:
    from vit_atlas.captioning.measure.atlas import make_caption_atlas

    make_caption_atlas(*read_settings("captions"))


if __name__ == "__main__":
    run_stage(main)
