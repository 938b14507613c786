"""Words on real photos: where a captioner trained on Flickr8k looks when it writes `dog` or `cat` over a pet.

    python bench/bench_words.py FLICKR8K PETS
    vit-atlas use captioner=flickr8k && dvc add data
    dvc exp run -S 'captions.repeats=[1,2]' metrics

The first line makes data/captioning: photos and captions of Flickr8k (``captions.csv``, ``images/``), and beside them
the photos of the Oxford-IIIT Pet data set that have a trimap (``images/``, ``annotations/trimaps/``). Nobody captioned
those; ``objects.jsonl`` says where their animal is, under every word of :data:`WORDS`, so that the stages train,
caption, and score those words. metrics/caption.json then holds all numbers of the table in docs/results.md.

A `dog` on the photo of a cat is scored too: the question is where the word's map lies, not whether the word is right.
"""

import argparse
import csv
import json
import shutil
import sys
from pathlib import Path

from vit_atlas.paths import CAPTIONING_DATA

WORDS = ("dog", "dogs", "puppy", "puppies", "cat", "cats", "kitten", "kittens")


def make(flickr: Path, pets: Path, folder: Path, most: dict[str, int]) -> None:
    """Write ``folder``, which must not exist; ``most`` are photos of Flickr8k by split."""
    images = folder / "images"
    for name in ("flickr8k", "pets"):
        (images / name).mkdir(parents=True)
    with (flickr / "captions.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    kept = choose(rows, most)
    with (folder / "captions.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows({**row, "image": f"flickr8k/{row['image']}"} for row in rows if row["image"] in kept)
    for name in kept:
        shutil.copy(flickr / "images" / name, images / "flickr8k" / name)
    shutil.copytree(pets / "annotations" / "trimaps", folder / "masks")
    with (folder / "objects.jsonl").open("w") as objects:
        for mask in sorted((folder / "masks").glob("*.png")):
            photo = pets / "images" / f"{mask.stem}.jpg"
            shutil.copy(photo, images / "pets" / photo.name)
            for word in WORDS:
                line = {"image": f"pets/{photo.name}", "noun": word, "mask": f"masks/{mask.name}"}
                objects.write(json.dumps(line) + "\n")


def choose(rows: list[dict[str, str]], most: dict[str, int]) -> set[str]:
    """Photos of each split, those first whose captions have one of :data:`WORDS`, then by name."""
    named = {row["image"] for row in rows if {*WORDS} & {*row["caption"].lower().split()}}
    kept: set[str] = set()
    for split, count in most.items():
        photos = {row["image"] for row in rows if row["split"] == split}
        kept |= {*sorted(photos, key=lambda name: (name not in named, name))[:count]}
    return kept


def main() -> None:
    """Make the folder of photos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flickr", type=Path)
    parser.add_argument("pets", type=Path)
    for split in ("train", "val", "test"):
        parser.add_argument(f"--{split}", type=int, default=sys.maxsize, help="at most so many photos of Flickr8k")
    arguments = parser.parse_args()
    most = {split: getattr(arguments, split) for split in ("train", "val", "test")}
    make(arguments.flickr, arguments.pets, CAPTIONING_DATA, most)


if __name__ == "__main__":
    main()
