"""caption-attn: captions of photos, and where the captioner looked for every word, measured and drawn."""

from vit_atlas.captioning.dataset import read_dataset
from vit_atlas.captioning.measure.describe import describe
from vit_atlas.captioning.opening import captions_are_off, name_captioner, open_captioner
from vit_atlas.paths import CAPTION_VERIFY_CACHE
from vit_atlas.pictures.captions import write_and_draw, write_nothing
from vit_atlas.processes import from_first, is_first, joined, launch
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    if captions_are_off():
        write_nothing()
    elif not launch(__file__, settings.finetune.processes):
        with joined():
            dataset = from_first(lambda: read_dataset(cache=CAPTION_VERIFY_CACHE))
            if is_first():
                dataset.tell()
            captions = describe(open_captioner(), dataset, settings.captions)
            if is_first():
                write_and_draw(captions, name_captioner())


if __name__ == "__main__":
    run_stage(main)
