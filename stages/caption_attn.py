"""caption-attn: captions of photos, and where the captioner looked for every word, measured and drawn."""

from vit_atlas.captioning.measure.describe import describe
from vit_atlas.captioning.measure.word_maps import View
from vit_atlas.captioning.opening import captions_are_off, open_captioner
from vit_atlas.pictures.captions import write_and_draw, write_nothing
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings().captions
    if captions_are_off():
        write_nothing()
    else:
        write_and_draw(describe(open_captioner(), settings), View(settings.layer, settings.head))


if __name__ == "__main__":
    run_stage(main)
