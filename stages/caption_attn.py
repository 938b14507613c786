"""caption-attn: captions of photos, and where the captioner looked for every word, measured and drawn."""

from vit_atlas.captioning.measure.atlas import make_caption_atlas
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    make_caption_atlas(settings.captions)


if __name__ == "__main__":
    run_stage(main)
