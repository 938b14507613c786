"""gallery: a thumbnail, a look and a place among the others for every photo that the page can show."""

from vit_atlas.attention.photos import read_predictions
from vit_atlas.data.manifest import Manifest
from vit_atlas.models.classifier import load_finetuned
from vit_atlas.page_data.gallery import choose, write_gallery
from vit_atlas.processes import joined, launch
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    if launch(__file__, settings.finetune.processes):
        return
    with joined():
        photos = choose(Manifest.read(masks=True), read_predictions(), settings.gallery)
        write_gallery(load_finetuned(), photos, settings.gallery)


if __name__ == "__main__":
    run_stage(main)
