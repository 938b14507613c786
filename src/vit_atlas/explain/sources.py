"""From what the user typed to photo files: files, folders, globs, and lists on stdin."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vit_atlas.data.junk import is_junk
from vit_atlas.data.photos import looks_like_photo
from vit_atlas.data.tree import files_below
from vit_atlas.errors import AtlasError
from vit_atlas.io.names import safe_stems

KINDS = "JPEG, PNG, WebP, BMP, TIFF, PPM, GIF, AVIF, HEIC"

STDIN = "-"


@dataclass
class Found:
    """Photos to explain, and what could not be found."""

    paths: list[Path] = field(default_factory=list)
    """As the user or the folder names them, in order, each file once."""
    problems: list[str] = field(default_factory=list)
    """One sentence for every argument that led to no photo."""


def find_photos(arguments: Sequence[str], lines: Callable[[], Iterable[str]], out: Path) -> Found:
    """Find the photos that ``arguments`` name.

    Args:
        arguments: files, folders (with all folders below), globs (``**`` is any folders), or ``-`` for a list on stdin.
        lines: reads stdin, one path a line.
        out: where results go: pictures in there are no photos to explain, unless it is what the user names.
    """
    found = Found()
    seen: set[str] = set()
    for argument in _spelled_out(arguments, lines, found):
        paths, problem = _photos_of(argument, out)
        if problem:
            found.problems.append(problem)
        for path in paths:
            identity = os.path.realpath(path)
            if identity not in seen:
                seen.add(identity)
                found.paths.append(path)
    return found


def output_stems(paths: Sequence[Path]) -> list[str]:
    """A file stem for the results of each photo: its own, with its folders in front where two are equal."""
    absolute = [path.absolute() for path in paths]
    if not absolute:
        return []
    common = os.path.commonpath([path.parent for path in absolute])
    return safe_stems([Path(os.path.relpath(path, common)).as_posix() for path in absolute])


def shown(path: str | Path) -> str:
    """A path for people to read: bytes that are no UTF-8 become replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def within(path: str | Path, folder: Path) -> bool:
    """Whether ``path`` is ``folder`` or lies below it, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _spelled_out(arguments: Sequence[str], lines: Callable[[], Iterable[str]], found: Found) -> Iterator[str]:
    read = False
    for argument in arguments:
        if argument != STDIN:
            yield argument
        elif not read:
            read = True
            listed = [text for line in lines() if (text := line.rstrip("\r\n")).strip()]
            if not listed:
                found.problems.append("stdin lists no photo: write one path a line")
            yield from listed


def _photos_of(argument: str, out: Path) -> tuple[list[Path], str | None]:
    """Photos of one argument, and a sentence where there is none."""
    path = Path(argument)
    try:
        if path.is_dir():
            photos = list(_in_folder(path, out))
            return photos, None if photos else f"{shown(argument)} holds no file that is named like a photo ({KINDS})"
        if path.exists():
            return [path], None
    except OSError as error:
        return [], f"{shown(argument)} cannot be read ({error.strerror or error})"
    except AtlasError as error:
        return [], str(error)
    if not glob.has_magic(argument):
        return [], f"{shown(argument)} does not exist: give photos, folders, globs in quotes, or - for a list on stdin"
    matches = sorted(glob.glob(str(path.expanduser()), recursive=True))  # noqa: PTH207 (Path.glob wants a folder first)
    named = (match for match in map(Path, matches) if looks_like_photo(match) and not is_junk(match.name))
    photos = [match for match in named if match.is_file() and not within(match, out)]
    return photos, None if photos else f"no photo matches {shown(argument)}"


def _in_folder(folder: Path, out: Path) -> Iterator[Path]:
    inside = within(folder, out)
    return (path for path in files_below(folder) if looks_like_photo(path) and (inside or not within(path, out)))
