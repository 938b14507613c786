"""The files that a run shows in MLflow, and the folders in which they read well."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vit_atlas import paths

PLOTS = Path("plots")


@dataclass(frozen=True)
class Artifact:
    """A file and the folder that it goes to."""

    path: Path
    folder: str
    may_change: bool = False
    """Whether the same result may hold it in another form, so that it is written anew each time."""


@contextmanager
def collect() -> Iterator[list[Artifact]]:
    """Yield what there is: ``figures/`` and ``tables/`` by stage, ``metrics``, ``settings``, and the report.

    Figures that exist only as tables (confusion, reliability, curves) are drawn into a folder that is gone afterwards.
    """
    from vit_atlas.figures.style import save
    from vit_atlas.figures.tables import table_figures

    with tempfile.TemporaryDirectory() as scratch:
        drawn = []
        for name, figure in table_figures().items():
            path = Path(scratch) / f"{name}.png"
            save(figure, path)
            drawn.append(Artifact(path, "figures/training" if name == "training_curves" else "figures/evaluate"))
        yield drawn + _plots() + _others()


def _plots() -> list[Artifact]:
    found = []
    for path in sorted(PLOTS.rglob("*")):
        kind = {".png": "figures", ".csv": "tables"}.get(path.suffix)
        if kind and path.is_file():
            found.append(Artifact(path, "/".join((kind, *path.relative_to(PLOTS).parts[:-1]))))
    return found


def _others() -> list[Artifact]:
    found = [Artifact(path, "metrics") for path in sorted(Path("metrics").glob("*.json"))]
    found += [Artifact(path, "tables") for path in (paths.HISTORY, paths.PREDICTIONS)]
    found += [Artifact(Path(name), "settings") for name in ("params.yaml", "dvc.yaml", "data.dvc")]
    # Written after the report, or with it: the last word is the right one.
    found += [
        Artifact(Path("dvc.lock"), "settings", may_change=True),
        Artifact(paths.REPORT, "report", may_change=True),
    ]
    return [item for item in found if item.path.is_file()]
