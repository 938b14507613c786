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
from pathlib import Path

from vit_atlas.paths import CAPTIONING_DATA

WORDS = ("dog", "dogs", "puppy", "puppies", "cat", "cats", "kitten", "kittens")


def make(flickr: Path, pets: Path, folder: Path) -> None:
    """Write ``folder``, which must not exist."""
    images = folder / "images"
    shutil.copytree(flickr / "images", images / "flickr8k")
    (images / "pets").mkdir()
    with (flickr / "captions.csv").open(newline="") as source, (folder / "captions.csv").open("w", newline="") as table:
        rows = csv.DictReader(source)
        writer = csv.DictWriter(table, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows({**row, "image": f"flickr8k/{row['image']}"} for row in rows)
    shutil.copytree(pets / "annotations" / "trimaps", folder / "masks")
    with (folder / "objects.jsonl").open("w") as objects:
        for mask in sorted((folder / "masks").glob("*.png")):
            photo = pets / "images" / f"{mask.stem}.jpg"
            shutil.copy(photo, images / "pets" / photo.name)
            for word in WORDS:
                line = {"image": f"pets/{photo.name}", "noun": word, "mask": f"masks/{mask.name}"}
                objects.write(json.dumps(line) + "\n")


def main() -> None:
    """Make the folder of photos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flickr", type=Path)
    parser.add_argument("pets", type=Path)
    arguments = parser.parse_args()
    make(arguments.flickr, arguments.pets, CAPTIONING_DATA)


if __name__ == "__main__":
    main()
