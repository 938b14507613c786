"""Finding the cut-outs: on the machine, in the cache, or from a Debian or Ubuntu mirror.

The Debian package ``tuxpaint-stamps-default`` (GPL-2) holds them. Distributions repack archives, so the pictures' own
hashes are checked, never the archive's.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from vit_atlas.data.stickers.catalogue import Stamp
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import atomic_folder
from vit_atlas.paths import cache_folder

PACKAGE = "tuxpaint-stamps-default"

INSTALLED = Path("/usr/share/tuxpaint/stamps")

TARBALL = "https://sourceforge.net/projects/tuxpaint/files/tuxpaint-stamps/2022-06-04/tuxpaint-stamps-2022.06.04.tar.gz"

LICENCE = Path("/usr/share/doc") / PACKAGE / "copyright"

LARGEST_PACKAGE = 2_000_000_000
"""Bytes that the package may hold unpacked; it holds 0.2 GB, and what holds more is something else."""

BY_HAND = (
    f"unpack {TARBALL} and set VIT_ATLAS_STAMPS to its folder `stamps`, or use other photos: `vit-atlas data pets`, or "
    "your own folder as data/classification"
)
"""What to do where no package manager of that family can help."""

Progress = Callable[[str], None]
"""Called with one line of text before each slow step."""


def find_stamps(table: tuple[Stamp, ...], progress: Progress) -> Path:
    """The folder that holds every cut-out of ``table`` with the right bytes.

    Tried in turn: ``$VIT_ATLAS_STAMPS``, the installed package, the cache (``$VIT_ATLAS_CACHE`` or
    ~/.cache/vit-atlas), and the package downloaded with apt-get into the cache, for which no root is needed.

    Raises:
        AtlasError: ``$VIT_ATLAS_STAMPS`` lacks cut-outs, or none of the other places can give them.
    """
    chosen = os.environ.get("VIT_ATLAS_STAMPS")
    if chosen:
        trouble = first_mismatch(Path(chosen), table)
        if trouble:
            raise AtlasError(f"VIT_ATLAS_STAMPS is {chosen}, but {trouble}: {BY_HAND}")
        return Path(chosen)
    cached = cache_folder() / "stamps"
    for place in (INSTALLED, cached):
        if place.is_dir() and not first_mismatch(place, table):
            return place
    with tempfile.TemporaryDirectory(prefix="vit-atlas-stamps-") as scratch:
        downloaded = download_stamps(Path(scratch), progress, table)
        trouble = first_mismatch(downloaded, table)
        if trouble:
            raise AtlasError(f"this machine's package {PACKAGE} is another version ({trouble}): {BY_HAND}")
        _keep(downloaded, table, cached)
    return cached


def first_mismatch(folder: Path, table: tuple[Stamp, ...]) -> str:
    """What is wrong with the first cut-out that is missing or has other bytes; empty when all are right."""
    for stamp in table:
        path = folder / stamp.path
        if not path.is_file():
            return f"{path} does not exist"
        if hashlib.sha256(path.read_bytes()).hexdigest() != stamp.sha256:
            return f"{path} has other bytes than expected"
    return ""


def download_stamps(scratch: Path, progress: Progress, table: tuple[Stamp, ...]) -> Path:
    """Download the package into ``scratch`` without root and unpack ``table``'s cut-outs; return their folder.

    Where the machine's own package lists do not know the package, private lists are fetched first.

    Raises:
        AtlasError: there is no apt-get or dpkg-deb here, or the download or the unpacking fails.
    """
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise AtlasError(f"the sample's cut-outs need {missing[0]} of Debian or Ubuntu, which is not here: {BY_HAND}")
    progress(f"Downloading the package {PACKAGE} (161 MB, once)")
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    private = _private_options(scratch)
    archives = scratch / "archives"
    archives.mkdir()
    failure = _run(["apt-get", *quiet, "download", PACKAGE], archives)
    if failure:
        progress("Fetching package lists into a private folder")
        failure = _run(["apt-get", *quiet, *private, "update"], archives)
        failure = _run(["apt-get", *quiet, *private, "download", PACKAGE], archives) and (failure or "no candidate")
    found = sorted(archives.glob(f"{PACKAGE}*.deb"))
    if failure or not found:
        raise AtlasError(f"apt-get could not download {PACKAGE} ({failure or 'no file came'}): {BY_HAND}")
    progress("Unpacking it")
    stamps = [INSTALLED / stamp.path for stamp in table]
    failure = _unpack(found[0], scratch / "unpacked", {LICENCE, *stamps})
    if failure:
        raise AtlasError(f"dpkg-deb could not unpack {found[0].name} ({failure}): {BY_HAND}")
    return scratch / "unpacked" / INSTALLED.relative_to("/")


def _unpack(package: Path, target: Path, wanted: set[Path]) -> str:
    """Write the ``wanted`` files of ``package`` below ``target``; return what went wrong, empty when nothing did.

    Nothing else is written, whatever the archive holds: other names, links, devices.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                return _write_wanted(archive, target, wanted)
        except (tarfile.TarError, OSError) as error:
            return f"it holds no readable archive: {error}"
        finally:
            process.kill()


def _write_wanted(archive: tarfile.TarFile, target: Path, wanted: set[Path]) -> str:
    total = 0
    for member in archive:
        total += member.size
        if total > LARGEST_PACKAGE:
            return f"it holds more than {LARGEST_PACKAGE / 1e9:.0f} GB"
        name = Path("/", member.name)
        content = archive.extractfile(member) if name in wanted and member.isreg() else None
        if content is not None:
            path = target / name.relative_to("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as handle:
                shutil.copyfileobj(content, handle)
    return ""


def _private_options(scratch: Path) -> list[str]:
    """Options that make apt-get keep its lists and caches in ``scratch``, where anyone may write."""
    folders = {"Dir::State::lists": "lists", "Dir::Cache": "cache"}
    options = ["--option", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    for key, name in folders.items():
        (scratch / name / "partial").mkdir(parents=True)
        options += ["--option", f"{key}={scratch / name}"]
    return options


def _run(command: list[str], folder: Path) -> str:
    """Run ``command`` in ``folder``; return the last line of its complaint, empty when it went well.

    On a terminal its own progress is shown.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    shown = sys.stderr if sys.stderr.isatty() else subprocess.PIPE
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=shown, stderr=subprocess.PIPE, text=True, timeout=1800
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in (done.stderr or done.stdout or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def _keep(source: Path, table: tuple[Stamp, ...], target: Path) -> None:
    """Copy the cut-outs of ``table`` (not the package's sounds and drawings) and its licence into the cache."""
    with atomic_folder(target) as folder:
        for stamp in table:
            (folder / stamp.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / stamp.path, folder / stamp.path)
        licence = source.parents[1] / "doc" / PACKAGE / LICENCE.name
        if licence.is_file():
            shutil.copyfile(licence, folder / "copyright")
