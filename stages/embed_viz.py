"""embed-viz: how similar position embeddings are before and after fine-tuning, and what distance means to the model."""

from vit_atlas.attention.locality import measure_locality, some_photos
from vit_atlas.data.manifest import Manifest
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.pictures.embeddings import write_and_draw
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    finetuned = load_finetuned().to_device()
    photos = some_photos(Manifest.read(), settings.embeddings.photos, finetuned.layout)
    locality = measure_locality(finetuned, (photo.open() for photo in photos))
    classes = [finetuned.id2label[label] for label in sorted(finetuned.id2label)]
    pretrained = load_pretrained(settings.model, classes, seed=0)
    write_and_draw(pretrained.model, finetuned.model, locality, settings.embeddings.tiles)


if __name__ == "__main__":
    run_stage(main)
