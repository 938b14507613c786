"""What lies in a folder that DVC cannot store: `dvc add` fails on it, waits for ever, or passes over it in silence."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vit_atlas.data.junk import is_junk
from vit_atlas.data.tree import name_below, readable

KINDS = {
    stat.S_IFIFO: "a named pipe, for which `dvc add` waits for ever: remove it",
    stat.S_IFSOCK: "a socket, on which `dvc add` fails: remove it",
    stat.S_IFCHR: "a device, which is no file to store: remove it",
    stat.S_IFBLK: "a device, which is no file to store: remove it",
}


def not_storable(root: Path) -> list[tuple[str, str]]:
    """Find what DVC cannot store below ``root``; what `.dvcignore` leaves out is passed over.

    Returns:
        Path below ``root`` and what is wrong with it, sorted. Links are not followed: DVC does not follow them either.
    """
    return sorted((name_below(root, path), reason) for path, reason in _problems(root))


def _problems(folder: Path) -> Iterator[tuple[Path, str]]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            yield here, f"a folder that cannot be listed ({error.strerror}): correct its permissions"
            continue
        for entry in entries:
            if is_junk(entry.name):
                continue
            path = here / entry.name
            reason = _reason(entry)
            if reason:
                yield path, reason
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)


def _reason(entry: os.DirEntry[str]) -> str:
    """Why DVC cannot store it; empty where it can."""
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        return "a name that is not valid UTF-8, on which `dvc add` fails: rename it"
    try:
        if entry.is_file(follow_symlinks=False):  # nearly all, and told by the listing itself
            return "" if os.access(entry.path, os.R_OK) else "a file that may not be read: correct its permissions"
        kind = stat.S_IFMT(entry.stat().st_mode)
    except FileNotFoundError:
        target = readable(str(Path(entry.path).readlink()))
        return f"a link to {target}, which does not exist: `dvc add` fails on it; remove it"
    except OSError:
        return "a link that leads to itself: `dvc add` fails on it; remove it"
    if entry.is_symlink() and kind == stat.S_IFDIR:
        return "a link to a folder: DVC does not store what lies behind it; put the folder itself here"
    return KINDS.get(kind, "")
