"""evaluate: what the fine-tuned model says of the test photos, beside a linear probe on the pretrained features."""

from vit_atlas import paths
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.predict import predict, worst_mistakes
from vit_atlas.figures.evaluation import Mistake, draw_mistakes
from vit_atlas.figures.style import save
from vit_atlas.finetune.probe import read_probe
from vit_atlas.io.arrays import write_arrays
from vit_atlas.io.files import write_json
from vit_atlas.io.frames import write_csv
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    evaluate, manifest, classes = settings.evaluate, Manifest.read(), read_classes()
    pretrained = (load_pretrained(settings.model, classes, evaluate.seed), probe) if (probe := read_probe()) else None
    table, baseline, features = predict(manifest, classes, load_finetuned(), pretrained, evaluate)
    write_csv(paths.PREDICTIONS, table)
    write_json(paths.PROBE_PREDICTIONS, baseline)
    write_arrays(paths.PROBE_FEATURES, {"test": features})
    worst = worst_mistakes(table, evaluate.mistakes)
    answers = zip(manifest.find(worst["image_id"]), worst["predicted_name"], worst["confidence"], strict=True)
    mistakes = [Mistake(photo.open(), photo.class_name, guess, confidence) for photo, guess, confidence in answers]
    save(draw_mistakes(mistakes, len(table)), paths.MISTAKES)


if __name__ == "__main__":
    run_stage(main)
