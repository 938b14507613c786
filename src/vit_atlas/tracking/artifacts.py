"""The files that a run shows in MLflow, and the folders in which they read well."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vit_atlas import paths
from vit_atlas.io.frames import read_csv

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS = Path("plots")

TOP = {
    "map_scores.png": PLOTS / "attention" / "scores.png",
    "worst_mistakes.png": paths.MISTAKES,
    "report.html": paths.REPORT,
}
"""Files that lie beside the folders, not in one: only those does MLflow's comparison of runs show side by side."""

BY_PHOTO = (paths.PREDICTIONS, paths.ATTENTION_DATA / "scores.csv")
"""Tables in ``tables/`` by which a later result is compared with this one."""


@dataclass(frozen=True)
class Artifact:
    """A file, the folder that it goes to (empty for none) and its name there."""

    path: Path
    folder: str
    name: str
    may_change: bool = False
    """Whether the same result may hold it in another form, so that it is written anew each time."""


@contextmanager
def collect() -> Iterator[list[Artifact]]:
    """Yield what there is: ``figures/`` and ``tables/`` by stage, ``metrics``, ``settings``; and what to compare.

    Figures that exist only as tables (confusion, reliability, curves) are drawn into a folder that is gone afterwards.
    """
    from vit_atlas.figures.style import save

    with tempfile.TemporaryDirectory() as scratch:
        drawn = []
        for name, figure in _table_figures().items():
            path = Path(scratch) / f"{name}.png"
            save(figure, path)
            drawn.append(Artifact(path, "", path.name))
        yield drawn + _top() + _plots() + _others()


def _table_figures() -> "dict[str, Figure]":
    """Pictures of tables that DVC draws by itself: ``training_curves``, ``confusion`` and ``reliability``."""
    from vit_atlas.data.manifest import read_classes
    from vit_atlas.figures.evaluation import draw_confusion, draw_history, draw_reliability

    found = {}
    if paths.HISTORY.is_file():
        found["training_curves"] = draw_history(read_csv(paths.HISTORY, "finetune"))
    if paths.CONFUSION.is_file():
        table = read_csv(paths.CONFUSION, "metrics", ("actual", "predicted"))
        classes = read_classes() if paths.CLASSES.is_file() else []
        # All that the table names, also where prepare has run again since.
        classes += sorted({*table["actual"], *table["predicted"]} - set(classes))
        found["confusion"] = draw_confusion(table, classes)
    if paths.RELIABILITY.is_file():
        found["reliability"] = draw_reliability(read_csv(paths.RELIABILITY, "metrics"))
    return found


def _top() -> list[Artifact]:
    # The page is written with the run, and may be written anew: the last word is the right one.
    found = [Artifact(path, "", name, may_change=path == paths.REPORT) for name, path in TOP.items()]
    return [item for item in found if item.path.is_file()]


def _plots() -> list[Artifact]:
    found = []
    for path in sorted(PLOTS.rglob("*")):
        kind = {".png": "figures", ".csv": "tables"}.get(path.suffix)
        # Nothing is stored twice: what lies at the top is not in a folder too.
        # Nor what `vit-atlas compare` drew of two results.
        if kind and path.is_file() and path not in TOP.values() and PLOTS / "compare" not in path.parents:
            found.append(Artifact(path, "/".join((kind, *path.relative_to(PLOTS).parts[:-1])), path.name))
    return found


def _others() -> list[Artifact]:
    found = [Artifact(path, "metrics", path.name) for path in sorted(Path("metrics").glob("*.json"))]
    found += [Artifact(path, "tables", path.name) for path in (paths.HISTORY, *BY_PHOTO)]
    found += [Artifact(Path(name), "settings", name) for name in ("params.yaml", "dvc.yaml", "data.dvc")]
    # Complete only after the report's stage has ended.
    found.append(Artifact(Path("dvc.lock"), "settings", "dvc.lock", may_change=True))
    return [item for item in found if item.path.is_file()]
