"""The one way to ask git."""

import os
import subprocess
from pathlib import Path

from vit_atlas.errors import AtlasError

FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
"""Variables that would point git at another repository, as inside a git hook."""


def git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run git in ``folder``; whether it succeeded is in the result's ``returncode``.

    Raises:
        AtlasError: git is not installed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    try:
        return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True)
    except FileNotFoundError:
        raise AtlasError("git is not installed, or not on PATH: install it (Debian: apt-get install git)") from None


def changed_files(folder: Path, *paths: str) -> list[str]:
    """List the files in ``paths`` below ``folder`` that differ from the commit or are not in it."""
    # Without the option git would write its refreshed index into the user's repository.
    listed = git(folder, "--no-optional-locks", "status", "--porcelain", "-z", "--", *paths)
    return [entry[3:] for entry in listed.stdout.decode(errors="surrogateescape").split("\0") if entry]
