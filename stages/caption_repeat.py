"""caption-repeat: the captioner trained once more with another seed, and what it says and where it looks."""

import sys

from vit_atlas.repeats.captioning import repeat_captions
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    repeat_captions(int(sys.argv[1]), settings.captioner, settings.captions)


if __name__ == "__main__":
    run_stage(main)
