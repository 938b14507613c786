"""attn-viz: where what the head reads looks, drawn on chosen photos and scored on test photos that have a mask."""

from vit_atlas.attention.photos import choose_photos, read_predictions
from vit_atlas.attention.study import run_study
from vit_atlas.data.manifest import Manifest
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.pictures.attention import write_and_draw
from vit_atlas.processes import joined, launch
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    if launch(__file__, settings.finetune.processes):
        return
    attention = settings.attention
    with joined():
        classifier, manifest = load_finetuned().to_device(), Manifest.read(masks=True)
        drawn = choose_photos(attention.photos, attention.count, manifest, read_predictions(), classifier.layout.patch)
        study = run_study(classifier, manifest, attention, drawn)
        classes = [classifier.id2label[label] for label in sorted(classifier.id2label)]
        pretrained = load_pretrained(settings.model, classes, seed=0).to_device()
        write_and_draw(classifier, pretrained, manifest.find(drawn), study, attention)


if __name__ == "__main__":
    run_stage(main)
