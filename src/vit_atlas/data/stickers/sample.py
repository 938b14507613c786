"""Writing the whole sample: both data sets, into folders that are ours to replace."""

from pathlib import Path

from vit_atlas.data.stickers.captioning import write_captioning
from vit_atlas.data.stickers.catalogue import stamps
from vit_atlas.data.stickers.classification import SOURCES, write_classification
from vit_atlas.data.stickers.fetch import Progress, find_stamps
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder, require_place
from vit_atlas.paths import ABOUT

SEED = 0
"""The seed of the sample that data.dvc names."""

CREDITS = """Made by `vit-atlas data stickers` from the cut-out photographs of Tux Paint's stamps (the Debian and Ubuntu
package tuxpaint-stamps-default, version 2022.06.04), copyright 2002-2022 by Bill Kendrick and the stamps' contributors.
They are under the GNU General Public License, version 2, and so are these pictures.
"""

CAPTIONING_MARK = "objects.jsonl"


def write_sample(folder: Path, progress: Progress, seed: int = SEED, replace: bool = False) -> tuple[int, int]:
    """Write ``folder``/classification and ``folder``/captioning; return the number of photos and of scenes.

    Args:
        folder: the project's data folder.
        progress: called with one line of text before each slow step.
        seed: the same seed gives the same bytes.
        replace: also replace folders that are not an earlier sample.

    Raises:
        AtlasError: the cut-outs cannot be found, or a folder is there that is no sample and ``replace`` is not given.
    """
    classification, captioning = folder / "classification", folder / "captioning"
    for target, mark in ((classification, SOURCES), (captioning, CAPTIONING_MARK)):
        require_ours(target, mark, replace)
    table = stamps()
    source = find_stamps(table, progress)
    with atomic_folder(classification) as target:
        photos = write_classification(target, source, table, seed)
        (target / ABOUT).write_text(CREDITS, encoding="utf-8")
    with atomic_folder(captioning) as target:
        scenes = write_captioning(target, source, table, seed)
        (target / ABOUT).write_text(CREDITS, encoding="utf-8")
    return photos, scenes


def require_ours(folder: Path, mark: str, replace: bool = False) -> None:
    """Let nobody's own photos be overwritten: ``folder`` must be missing, hold only a note, or the file ``mark``.

    With ``replace`` it may be any folder.

    Raises:
        AtlasError: it holds something else, or is no folder.
    """
    require_place(folder)
    if (
        not replace
        and folder.is_dir()
        and any(path.name != ABOUT for path in folder.iterdir())
        and not (folder / mark).is_file()
    ):
        raise AtlasError(
            f"{folder} holds something else than the sample: move it away, or add --replace to overwrite it"
        )
