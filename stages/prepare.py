"""prepare: find the layout of data/classification, check every photo, split, and write the manifest."""

import sys

from vit_atlas.data.prepare import prepare, write_prepared
from vit_atlas.paths import CLASSIFICATION_DATA
from vit_atlas.settings import read_settings
from vit_atlas.stage import run_stage


def main() -> None:
    (data,) = read_settings("data")
    prepared = prepare(CLASSIFICATION_DATA, data)
    write_prepared(prepared)
    for warning in prepared.metrics["warnings"]:
        sys.stderr.write(f"warning: {warning}\n")


if __name__ == "__main__":
    run_stage(main)
