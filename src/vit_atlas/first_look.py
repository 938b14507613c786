"""The page with what finetune and evaluate found, while the other stages are still at work."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from vit_atlas import paths
from vit_atlas.data import summary as prepared
from vit_atlas.evaluation import summary as evaluation
from vit_atlas.io.summary import write_summary
from vit_atlas.report.page import render_report
from vit_atlas.settings import Settings

KNOWN = (
    paths.PREPARED,
    paths.HISTORY,
    paths.VALIDATION,
    paths.PREDICTIONS,
    paths.PROBE_PREDICTIONS,
    paths.MISTAKES,
    paths.TRAINING_RECORD,
    Path("data.dvc"),
)
"""Files and folders that finetune and evaluate leave, and what names their photos."""


def first_look(settings: Settings) -> str:
    """Render the page of :data:`KNOWN` alone, with the numbers that the stage metrics will make of it.

    The result in the folder, which may be an older one, is not read, and nothing of what DVC knows is written.

    Raises:
        AtlasError: evaluate has not run yet.
    """
    # Further trainings come later.
    alone = settings.model_copy(update={"finetune": settings.finetune.model_copy(update={"repeats": ()})})
    here = Path.cwd()
    paths.PREPARED.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=".first-look-", dir=paths.PREPARED.parent) as folder:
        for path in KNOWN:
            if path.exists():
                link = Path(folder, path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(here / path)
        with chdir(folder):
            for part in (prepared, evaluation):
                write_summary(part.summarise(alone))
            return render_report(alone, here)
