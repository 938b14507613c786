"""embed-viz: how similar the position embeddings are, before and after fine-tuning."""

from vit_atlas.attention.positions import (
    cosine_similarities,
    dot_products,
    packed_similarities,
    position_metrics,
    similarity_by_distance,
)
from vit_atlas.figures.embeddings import Curve, draw_change, draw_distance, draw_dot_product, draw_overview
from vit_atlas.figures.style import save
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.files import atomic_folder, write_json
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.models.geometry import position_embedding
from vit_atlas.paths import EMBEDDING_PLOTS, EMBEDDINGS, EMBEDDINGS_METRICS
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    tiles = settings.embeddings.tiles
    finetuned = load_finetuned()
    classes = [finetuned.id2label[label] for label in sorted(finetuned.id2label)]
    before = position_embedding(load_pretrained(settings.model, classes, seed=0).model).numpy()
    after = position_embedding(finetuned.model).numpy()
    metrics = position_metrics(before, after)

    cosine = {"before": cosine_similarities(before), "after": cosine_similarities(after)}
    with atomic_folder(EMBEDDING_PLOTS) as folder:
        for when, similarity in cosine.items():
            title = f"Similarity of position embeddings {when} fine-tuning"
            save(draw_overview(similarity, tiles, title), folder / f"overview_{when}.png")
        save(draw_change(cosine["before"], cosine["after"], tiles), folder / "change.png")
        save(
            draw_dot_product(cosine["after"], dot_products(after), tiles),
            folder / "dot_product.png",
        )
        by_distance = {when: similarity_by_distance(similarity) for when, similarity in cosine.items()}
        curves = [Curve(f"{when} fine-tuning", **vars(curve)) for when, curve in by_distance.items()]
        correlations = [metrics["rank_correlation_before"], metrics["rank_correlation_after"]]
        save(draw_distance(curves, correlations), folder / "distance.png")
    write_arrays(EMBEDDINGS, packed_similarities(cosine["before"], cosine["after"], by_distance))
    write_json(EMBEDDINGS_METRICS, metrics)


if __name__ == "__main__":
    run_stage(main)
