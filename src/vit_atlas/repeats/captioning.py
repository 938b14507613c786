"""One repeat of caption-train: the same training with another seed, measured as the first one is."""

import shutil

from vit_atlas.captioning.dataset import read_dataset
from vit_atlas.captioning.measure.describe import describe
from vit_atlas.captioning.opening import open_captioner
from vit_atlas.captioning.train.run import train_captioner
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import CAPTION_REPEATS, CAPTION_VERIFY_CACHE, CHECKPOINTS
from vit_atlas.settings import Captioner, CaptionsSettings


def repeat_captions(seed: int, captioner: Captioner, captions: CaptionsSettings) -> None:
    """Train with ``seed`` instead of ``captioner.seed``; keep captions and the scores of words, but no captioner.

    The photos' features are those of the first training, computed once.

    Raises:
        AtlasError: see :func:`vit_atlas.captioning.train.run.train_captioner`.
    """
    trained = CHECKPOINTS / "captioner-of-a-repeat"
    train_captioner(captioner.model_copy(update={"seed": seed}), trained)
    found = describe(open_captioner(trained), read_dataset(cache=CAPTION_VERIFY_CACHE), captions)
    with atomic_folder(CAPTION_REPEATS / str(seed)) as folder:
        write_csv(folder / "captions.csv", found.table)
        write_csv(folder / "words.csv", found.words)
        write_json(folder / "facts.json", found.facts)
    shutil.rmtree(trained)
