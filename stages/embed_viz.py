"""embed-viz: how similar the position embeddings are, before and after fine-tuning."""

from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.pictures.embeddings import write_and_draw
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    finetuned = load_finetuned()
    classes = [finetuned.id2label[label] for label in sorted(finetuned.id2label)]
    pretrained = load_pretrained(settings.model, classes, seed=0)
    write_and_draw(pretrained.model, finetuned.model, settings.embeddings.tiles)


if __name__ == "__main__":
    run_stage(main)
