"""suspects: which labels may be wrong, and which right answers may come from beside the object."""

from vit_atlas import paths
from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.doubts import doubted
from vit_atlas.evaluation.suspects import DRAWN, KINDS
from vit_atlas.figures.style import save
from vit_atlas.figures.suspects import draw_suspects
from vit_atlas.io.frames import write_csv
from vit_atlas.settings import load_settings
from vit_atlas.stage import run_stage


def main() -> None:
    settings = load_settings()
    manifest = Manifest.read()
    table = doubted(manifest, read_classes(), settings.model, settings.evaluate)
    write_csv(paths.SUSPECTS, table)
    first = table.head(DRAWN)
    named = zip(manifest.find(first["image_id"]), first["class_name"], first["suggested_name"], strict=True)
    pictures = [(*one, KINDS[kind]) for one, kind in zip(named, first["kind"], strict=True)]
    save(draw_suspects([(photo.open(), *said) for photo, *said in pictures]), paths.SUSPECTS_PICTURE)


if __name__ == "__main__":
    run_stage(main)
