"""The official Oxford-IIIT Pet data set, through torchvision, put in its published layout."""

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vit_atlas.data.stickers.classification import SOURCES
from vit_atlas.data.stickers.fetch import Progress
from vit_atlas.data.stickers.sample import require_ours
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder, require_free_space
from vit_atlas.paths import cache_folder

NEEDED_BYTES = 2_000_000_000
"""Archives and unpacked photos together."""
FOLDERS = ("images", "annotations")
LISTS = ("annotations/trainval.txt", "annotations/test.txt")


def write_pets(folder: Path, progress: Progress, replace: bool = False) -> int:
    """Download the data set and write ``folder`` with `images/` and `annotations/`; return the number of photos.

    The archives (about 800 MB) lie in the cache until everything is unpacked, so a download that was cut off goes on
    with the archive that is whole. A folder that holds the data set already is left as it is, without ``replace``.

    Raises:
        AtlasError: there is no network or too little disk space, or ``folder`` holds something else than the sample and
            ``replace`` is not given.

    References:
        Parkhi, Vedaldi, Zisserman, Jawahar 2012, Cats and Dogs.
    """
    from torchvision.datasets import OxfordIIITPet

    if not replace and _is_whole(folder):
        progress(f"{folder} holds Oxford-IIIT Pet already")
        return _photos(folder)
    require_ours(folder, SOURCES, replace)
    scratch = cache_folder() / "oxford-iiit-pet-download"
    require_free_space(scratch, NEEDED_BYTES, "downloading Oxford-IIIT Pet", "set VIT_ATLAS_CACHE to a larger disk")
    progress("Downloading Oxford-IIIT Pet (about 800 MB) from www.robots.ox.ac.uk")
    unpacked = scratch / "oxford-iiit-pet"
    # torchvision takes folders for whole that an unpacking which was cut off left behind; it keeps the archives.
    for name in FOLDERS:
        shutil.rmtree(unpacked / name, ignore_errors=True)
    try:
        with _inside_only():
            OxfordIIITPet(scratch, download=True)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise AtlasError(
            f"Oxford-IIIT Pet could not be downloaded ({' '.join(str(error).split())[:200]}): check the network, "
            f"or put the published images/ and annotations/ in {folder} yourself"
        ) from None
    if not _is_whole(unpacked):
        raise AtlasError(
            f"the archives of Oxford-IIIT Pet in {unpacked} lack photos or lists: remove them, and try again"
        )
    with atomic_folder(folder) as target:
        for name in FOLDERS:
            shutil.move(unpacked / name, target / name)
    shutil.rmtree(scratch, ignore_errors=True)
    return _photos(folder)


def _is_whole(folder: Path) -> bool:
    """Whether a folder has both lists and every photo that they name; trimaps may be missing, as any mask may."""
    lists = [folder / name for name in LISTS]
    if not all(path.is_file() for path in lists):
        return False
    names = [
        line.split()[0] for path in lists for line in path.read_text(errors="replace").splitlines() if line.strip()
    ]
    return bool(names) and all((folder / "images" / f"{name}.jpg").is_file() for name in names)


def _photos(folder: Path) -> int:
    return sum(1 for path in (folder / "images").iterdir() if path.suffix == ".jpg")


@contextmanager
def _inside_only() -> Iterator[None]:
    """Refuse archives that write outside their folder or hold devices: torchvision unpacks without looking.

    Python before 3.11.4, which is Debian 12's, has no such filter; there torchvision's check of the archives' hashes,
    which comes first everywhere, stands alone.
    """
    if not hasattr(tarfile, "data_filter"):
        yield
        return
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before
