"""What earlier runs of prepare found in files, so that only new and changed ones are decoded again.

A file counts as unchanged while its path, size, time of last change and time of last change of its status (ctime,
which no program can set back) are the same, and those of its mask. This is an accelerator only: the folder may be
deleted at any time, a damaged one is thrown away, and nothing that prepare writes depends on it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vit_atlas.code_hash import code_hash
from vit_atlas.data.candidates import Candidate
from vit_atlas.data.photos import PhotoFacts, reader_versions

BATCH = 2000
"""Photos between two writes; an interrupted run loses what came after the last one."""

NOT_OF_THE_FILE = ("missing", "unreadable", "memory", "name-not-utf8")
"""Kinds of rejection that may end without the file changing, so they are never remembered."""

NO_FACTS = PhotoFacts(0, 0, ())

TABLE = "CREATE TABLE IF NOT EXISTS inspections (file TEXT PRIMARY KEY, state TEXT, found TEXT)"

T = TypeVar("T")


@dataclass(frozen=True)
class Inspection:
    """One candidate after decoding.

    ``reason`` says why it cannot serve, empty where it can, and ``kind`` the same in a word to count by. ``sha256`` is
    of its bytes, ``pixels`` is a hash of its upright RGB pixels, ``phash`` their perceptual hash (see
    :mod:`vit_atlas.data.perceptual`), empty for a flat photo. ``mask_reason`` says why its mask was dropped, and
    ``mask_sha256`` is of its mask's bytes, empty without one that can be used.
    ``remembered``: an earlier run decoded it.
    """

    candidate: Candidate
    reason: str = ""
    kind: str = ""
    sha256: str = ""
    pixels: str = ""
    phash: str = ""
    facts: PhotoFacts = NO_FACTS
    mask_reason: str = ""
    mask_sha256: str = ""
    remembered: bool = False


class Remembered:
    """The inspections of earlier runs with the same settings, code and Pillow, in ``folder``; none without one."""

    def __init__(self, folder: Path | None, max_pixels: int) -> None:
        self._path = folder / f"{_fingerprint(max_pixels)}.sqlite" if folder else None
        self._waiting: list[tuple[str, str, str]] = []

    def state(self, candidate: Candidate) -> str:
        """What tells whether ``candidate`` has changed, taken before it is read; empty where nothing can tell."""
        if self._path is None:
            return ""
        try:
            candidate.path.as_posix().encode("utf-8")
            files = [candidate.path, *([candidate.mask] if candidate.mask else [])]
            stats = [path.stat() for path in files]
        except (OSError, UnicodeEncodeError):
            return ""
        found = [(item.st_size, item.st_mtime_ns, item.st_ctime_ns) for item in stats]
        return json.dumps([found, str(candidate.mask or ""), candidate.mask_kind])

    def recall(self, candidates: Sequence[Candidate], states: Sequence[str]) -> list[Inspection | None]:
        """The inspections of unchanged files, None for the others; drops what belongs to files that are gone."""
        if self._path is None or not self._path.is_file():
            return [None] * len(candidates)

        def read(database: sqlite3.Connection) -> list[Inspection | None]:
            pairs = zip(candidates, states, strict=True)
            found = [_recalled(database, candidate, state) for candidate, state in pairs]
            _forget_others(database, candidates)
            return found

        return self._with_database(read) or [None] * len(candidates)

    def keep(self, state: str, inspection: Inspection) -> None:
        """Remember ``inspection`` of a file that was in ``state`` before it was read."""
        if state and inspection.kind not in NOT_OF_THE_FILE:
            self._waiting.append((inspection.candidate.path.as_posix(), state, _packed(inspection)))
            if len(self._waiting) >= BATCH:
                self.close()

    def close(self) -> None:
        """Write what is not written yet."""
        rows, self._waiting = self._waiting, []
        if self._path is None or not rows:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for other in self._path.parent.glob("*.sqlite"):
                if other != self._path:
                    other.unlink()
        self._with_database(lambda db: db.executemany("INSERT OR REPLACE INTO inspections VALUES (?, ?, ?)", rows))

    def _with_database(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """What ``work`` returns, committed; None where the database cannot be used. A damaged one is deleted.

        It is opened anew each time, as a connection must not live on in the worker processes.
        """
        assert self._path is not None
        try:
            with closing(sqlite3.connect(self._path)) as database, database:
                database.execute(TABLE)
                return work(database)
        except sqlite3.OperationalError:  # locked by another run, no space, a folder that cannot be written
            return None
        except (sqlite3.DatabaseError, ValueError, TypeError, OSError):
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            return None


def _fingerprint(max_pixels: int) -> str:
    """Changes with everything but the files that an inspection depends on."""
    parts = (code_hash("vit_atlas.data.verify"), reader_versions(), str(max_pixels))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _recalled(database: sqlite3.Connection, candidate: Candidate, state: str) -> Inspection | None:
    if not state:
        return None
    query = "SELECT found FROM inspections WHERE file = ? AND state = ?"
    row = database.execute(query, (candidate.path.as_posix(), state)).fetchone()
    return _unpacked(candidate, row[0]) if row else None


def _forget_others(database: sqlite3.Connection, candidates: Sequence[Candidate]) -> None:
    """Delete the rows of files that are gone, once there are more rows than files."""
    (count,) = database.execute("SELECT count(*) FROM inspections").fetchone()
    if count <= len(candidates):
        return
    database.execute("CREATE TEMP TABLE present (file TEXT PRIMARY KEY)")
    names = (candidate.path.as_posix().encode("utf-8", "replace").decode() for candidate in candidates)
    database.executemany("INSERT OR IGNORE INTO present VALUES (?)", ((name,) for name in names))
    database.execute("DELETE FROM inspections WHERE file NOT IN present")


def _packed(item: Inspection) -> str:
    found = item.facts
    values = [item.reason, item.kind, item.sha256, item.pixels, item.phash, item.mask_reason, item.mask_sha256]
    return json.dumps([*values, found.width, found.height, *found.conversions])


def _unpacked(candidate: Candidate, text: str) -> Inspection:
    values: list[Any] = json.loads(text)
    reason, kind, sha256, pixels, phash, mask_reason, mask_sha256, width, height, *conversions = values
    found = PhotoFacts(width, height, tuple(conversions))
    return Inspection(candidate, reason, kind, sha256, pixels, phash, found, mask_reason, mask_sha256, remembered=True)
