"""evaluate: what the fine-tuned model says of the test photos, beside a linear probe on the pretrained features."""

from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.predict import predict
from vit_atlas.finetune.probe import read_probe
from vit_atlas.models.classifier import load_finetuned, load_pretrained
from vit_atlas.pictures.evaluation import write_and_draw
from vit_atlas.processes import is_first, joined, launch
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    if launch(__file__, settings.finetune.processes):
        return
    manifest, classes, probe = Manifest.read(), read_classes(), read_probe()
    with joined():
        before = (load_pretrained(settings.model, classes, settings.evaluate.seed), probe) if probe else None
        found = predict(manifest, classes, load_finetuned(), before, settings.evaluate)
        if is_first():
            write_and_draw(*found, manifest, settings.evaluate.mistakes)


if __name__ == "__main__":
    run_stage(main)
