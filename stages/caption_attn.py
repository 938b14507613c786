"""Caption the photos, measure the captions and where their words looked, and draw both."""

from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    from vit_atlas.captioning.measure.atlas import make_caption_atlas

    settings = load_settings()
    make_caption_atlas(settings.captions)


if __name__ == "__main__":
    run_stage(main)
