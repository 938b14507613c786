"""prepare: find the layout of data/classification, check every photo, split, and write the manifest."""

import sys

from vit_atlas.data.prepare import prepare, summary, write_prepared
from vit_atlas.paths import CLASSIFICATION_DATA, VERIFY_CACHE
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    prepared = prepare(CLASSIFICATION_DATA, settings.data, VERIFY_CACHE)
    write_prepared(prepared)
    for line in summary(prepared):
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    run_stage(main)
