"""Measure the fine-tuned model on the test split, beside a linear probe on the pretrained features."""

from vit_atlas import paths
from vit_atlas.io.files import atomic_file, write_json
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    measuring = settings.evaluate

    from vit_atlas.data.manifest import read_classes, read_manifest
    from vit_atlas.evaluation.evaluate import evaluate, worst_mistakes
    from vit_atlas.figures.evaluation import draw_mistakes
    from vit_atlas.figures.style import save
    from vit_atlas.models.classifier import load_finetuned, load_pretrained

    manifest, classes = read_manifest(), read_classes()
    finetuned = load_finetuned()
    pretrained = load_pretrained(settings.model, classes, measuring.seed) if measuring.linear_probe else None
    result = evaluate(manifest, classes, finetuned, pretrained, measuring)
    save(
        draw_mistakes(worst_mistakes(result.predictions, measuring.mistakes), len(result.predictions)),
        paths.MISTAKES,
    )
    tables = {
        paths.PREDICTIONS: result.predictions,
        paths.CONFUSION: result.confusion,
        paths.RELIABILITY: result.reliability,
        paths.PER_CLASS: result.per_class,
    }
    for path, table in tables.items():
        with atomic_file(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(paths.EVALUATE_METRICS, result.metrics)


if __name__ == "__main__":
    run_stage(main)
