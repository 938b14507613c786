"""Where stages read and write, relative to the project's root (the folder with dvc.yaml)."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
PRESETS = Path("conf")
CLASSIFICATION_DATA = Path("data/classification")
CAPTIONING_DATA = Path("data/captioning")
ABOUT = "ABOUT.txt"
"""What a folder of data says about itself."""

PREPARED = Path("build/prepared")
MANIFEST = PREPARED / "manifest.csv"
MASKS = PREPARED / "masks.csv"
"""Which photos have a mask: apart from the manifest, so that another mask trains nothing again."""
CLASSES = PREPARED / "classes.json"
REJECTED = PREPARED / "rejected.csv"
MASKS_DROPPED = PREPARED / "masks_dropped.csv"
DUPLICATES = PREPARED / "duplicates.csv"
TOGETHER = PREPARED / "together.csv"
"""For each photo a number that it shares with those that belong in one split, and in one fold, with it."""
PREPARE_SUMMARY = PREPARED / "summary.json"
"""Counts and warnings of prepare, which the metrics stage hands on to git."""
MODEL = Path("build/model")
HISTORY = Path("build/history.csv")
TRAININGS = Path("build/trainings")
"""What the metrics stage needs of each training: the first one's validation, and everything of the repeats."""
REPEATS = TRAININGS / "finetune"
"""One folder a repeat of finetune, named by its seed."""
CAPTION_REPEATS = TRAININGS / "captions"
"""One folder a repeat of caption-train, named by its seed."""
VALIDATION = REPEATS / "first" / "validation.csv"
"""The history's rows with a validation result, alone: DVC draws an empty cell as zero."""
PREDICTIONS = Path("build/predictions.csv")
PROBE = Path("build/probe")
"""The linear probe and the features that it was fitted on; empty where none was fitted."""
PROBE_PREDICTIONS = Path("build/probe_predictions.json")
"""The linear probe's strength and its predictions, in the order of the other predictions."""
PROBE_FEATURES = Path("build/probe_features.npz")
"""``test`` (photos, width): the pretrained features that the probe predicted from, in that order."""

PREPARE_METRICS = Path("metrics/prepare.json")
EVALUATE_METRICS = Path("metrics/evaluate.json")
EMBEDDINGS = Path("build/embeddings.npz")
EMBEDDING_NUMBERS = Path("build/embeddings.json")
EMBEDDINGS_METRICS = Path("metrics/embeddings.json")
ATTENTION_METRICS = Path("metrics/attention.json")
ATTENTION_DATA = Path("build/attention")
"""maps.npz, the maps of the drawn photos; scores.csv, one row a photo and method; and what the page explores."""

GALLERY = Path("build/gallery")
"""Photos that the page can show: gallery.csv, one row a photo, and gallery.npz, thumbnails and maps."""

CLASS_COUNTS = Path("plots/prepare/class_counts.csv")
CONFUSION = Path("plots/evaluate/confusion.csv")
RELIABILITY = Path("plots/evaluate/reliability.csv")
PER_CLASS = Path("plots/evaluate/per_class.csv")
MISTAKES = Path("plots/evaluate/mistakes.png")
SUSPECTS = Path("build/suspects.csv")
"""Photos whose label, or whose right answer, is to be doubted."""
SUSPECTS_PICTURE = Path("plots/suspects.png")
EMBEDDING_PLOTS = Path("plots/embeddings")
ATTENTION_SCORES = Path("plots/attention_scores.csv")
ATTENTION_PLOTS = Path("plots/attention")
INTERVENTIONS = Path("build/interventions.csv")
"""One row a photo, intervention and filling."""
INTERVENTION_METRICS = Path("metrics/interventions.json")
INTERVENTIONS_BY_CLASS = Path("plots/interventions.csv")
INTERVENTION_PICTURE = Path("plots/interventions.png")

CAPTIONER = Path("build/captioner")
CAPTIONS = Path("build/captions.csv")
CAPTION_DATA = Path("build/captions")
"""The drawn captions, every word with its maps, for the page."""
CAPTION_METRICS = Path("metrics/caption.json")
CAPTION_PLOTS = Path("plots/captions")

REPORT = Path("report/index.html")

CHECKPOINTS = Path(".checkpoints")
"""Training checkpoints: outside DVC's outs, so that an interrupted stage finds them again."""
TRAINING_RECORD = CHECKPOINTS / "training.json"
"""How the last training on this machine went."""

VERIFY_CACHE = Path(".verify-cache")
CAPTION_VERIFY_CACHE = VERIFY_CACHE / "captioning"
"""What prepare knows of files that it has decoded: only new and changed ones are decoded again."""

TRUNK_CACHE = Path(".trunk-cache")
"""Activations of the frozen trunk, kept from one training to the next; it may be deleted at any time."""


def cache_folder() -> Path:
    """Folder for downloads that projects share: ``$VIT_ATLAS_CACHE``, or ``~/.cache/vit-atlas``."""
    return Path(os.environ.get("VIT_ATLAS_CACHE") or Path.home() / ".cache" / "vit-atlas")
