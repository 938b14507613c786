"""suspects: which labels may be wrong, and which right answers may come from beside the object."""

from vit_atlas.data.manifest import Manifest, read_classes
from vit_atlas.evaluation.doubts import doubted
from vit_atlas.io.frames import write_csv
from vit_atlas.paths import SUSPECTS
from vit_atlas.pictures.suspects import draw_worst
from vit_atlas.stage import run_stage


def main() -> None:
    manifest = Manifest.read(masks=True)
    table = doubted(manifest, read_classes())
    write_csv(SUSPECTS, table)
    draw_worst(table, manifest)


if __name__ == "__main__":
    run_stage(main)
