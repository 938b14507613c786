"""embed-viz: how similar the position embeddings are, before and after fine-tuning."""

from vit_atlas.attention import positions
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.models.geometry import position_embedding
from vit_atlas.paths import EMBEDDING_NUMBERS, EMBEDDINGS
from vit_atlas.pictures.embeddings import draw_embeddings
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    finetuned = load_finetuned()
    classes = [finetuned.id2label[label] for label in sorted(finetuned.id2label)]
    before = position_embedding(load_pretrained(settings.model, classes, seed=0).model).numpy()
    after = position_embedding(finetuned.model).numpy()
    numbers = positions.position_metrics(before, after)
    cosine = {"before": positions.cosine_similarities(before), "after": positions.cosine_similarities(after)}
    curves = {when: positions.similarity_by_distance(similarity) for when, similarity in cosine.items()}
    write_arrays(EMBEDDINGS, positions.packed_similarities(cosine["before"], cosine["after"], curves))
    write_json(EMBEDDING_NUMBERS, numbers)
    draw_embeddings(cosine, after, curves, numbers, settings.embeddings.tiles)


if __name__ == "__main__":
    run_stage(main)
