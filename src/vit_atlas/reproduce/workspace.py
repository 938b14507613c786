"""A revision checked out into a folder of its own, and commands run there on the revision's own code."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from vit_atlas.errors import AtlasError
from vit_atlas.git import FOREIGN as OTHER_REPOSITORY
from vit_atlas.git import changed_files, git

DVC = (sys.executable, "-m", "dvc")
FOREIGN = (*OTHER_REPOSITORY, "DVC_ROOT", "DVC_STAGE")
"""Variables that would point git or DVC at another repository, as inside a git hook."""
FOREIGN_PREFIXES = ("MLFLOW_", "DVC_EXP", "DVC_STUDIO")
"""Variables that would show the repeated run in the user's own tracking."""


@dataclass(frozen=True)
class Revision:
    """A commit of the project in the present folder."""

    name: str
    """As the user gave it."""
    sha: str
    top: Path
    """The git repository's top folder."""
    project: Path
    """The project's folder (that of dvc.yaml), relative to ``top``."""

    def read(self, path: str) -> bytes | None:
        """Read a file of the project as it was committed; None where the commit has no such file."""
        done = git(self.top, "show", f"{self.sha}:{(self.project / path).as_posix()}")
        return done.stdout if done.returncode == 0 else None

    def files(self, pattern: str) -> list[str]:
        """Name the project's committed files that match a glob pattern, relative to the project, sorted."""
        listed = git(self.top / self.project, "ls-tree", "-r", "-z", "--name-only", self.sha)
        names = listed.stdout.decode(errors="surrogateescape").split("\0")
        return sorted(name for name in names if name and Path(name).match(pattern))

    def subject(self) -> str:
        """Give the first line of the commit's message."""
        return git(self.top, "log", "-1", "--format=%s", self.sha).stdout.decode(errors="replace").strip()


@dataclass(frozen=True)
class Workspace:
    """The checkout of a revision, with its own DVC state and MLflow database."""

    folder: Path
    """The project's folder in the checkout."""
    revision: Revision

    @property
    def scratch(self) -> Path:
        """A folder that git and DVC ignore."""
        return self.dvc / "tmp" / "reproduce"

    @property
    def dvc(self) -> Path:
        """DVC's own folder, in the project or in a folder above it."""
        return dvc_folder(self.folder, len(self.revision.project.parts), self.revision.name)

    def run(self, *command: str, state: str) -> int:
        """Run a command in the workspace, all it prints on stderr; returns its exit code.

        Args:
            command: the program and its arguments.
            state: names the folder of DVC's memory of hashes: a new name makes DVC hash every file anew.
        """
        return run_group(command, self.folder, self.environment(state))

    def environment(self, state: str) -> dict[str, str]:
        """Give the variables under which the revision's own code runs, tracked in a database of the workspace."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in FOREIGN and not name.startswith(FOREIGN_PREFIXES)
        }
        # The package may be installed from the user's own tree, and PYTHONPATH comes before what is installed.
        sources = [str(self.folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return kept | {
            "PYTHONPATH": os.pathsep.join(sources),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.scratch / 'mlflow.db'}",
            "DVC_SITE_CACHE_DIR": str(self.scratch / f"state-{state}"),
            "DVC_NO_ANALYTICS": "1",
        }

    def require_own_code(self) -> None:
        """Make sure that stages import the revision's package and no other.

        Raises:
            AtlasError: Python finds the package elsewhere, or cannot import it.
        """
        if not (self.folder / "src" / "vit_atlas").is_dir():
            return
        done = subprocess.run(
            [sys.executable, "-c", "import vit_atlas; print(vit_atlas.__file__)"],
            cwd=self.folder,
            env=self.environment("check"),
            capture_output=True,
            text=True,
        )
        place = done.stdout.strip()
        if done.returncode != 0 or not Path(place).resolve().is_relative_to(self.folder.resolve()):
            raise AtlasError(
                f"the code of {self.revision.name} would not run: Python imports vit_atlas from "
                f"{place or 'nowhere'} instead of {self.folder / 'src'}: look for a .pth file or a PYTHONSTARTUP "
                "that puts another folder first"
            )


def find_revision(name: str, folder: Path) -> Revision:
    """Find a commit of the project in ``folder``.

    Raises:
        AtlasError: git is missing, the folder is in no repository, or it has no such commit.
    """
    found = git(folder, "rev-parse", "--show-toplevel", "--show-prefix")
    if found.returncode != 0:
        raise AtlasError(f"{folder} is in no git repository that git can read: run this in the project's folder")
    top, prefix = found.stdout.decode().split("\n")[:2]
    done = git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    sha = done.stdout.decode().strip() if done.returncode == 0 else _experiment(name, folder)
    if sha is None:
        raise AtlasError(
            f"{name} is no commit, branch, tag or DVC experiment of this repository: `git log --oneline --all` "
            "lists them, and `git fetch` brings those of the remote"
        )
    return Revision(name, sha, Path(top), Path(prefix))


def _experiment(name: str, folder: Path) -> str | None:
    """Find the newest of DVC's experiments of that name."""
    listed = git(folder, "for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    for line in listed.stdout.decode(errors="surrogateescape").splitlines():
        sha, _, ref = line.partition(" ")
        if ref.rpartition("/")[2] == name:
            return sha
    return None


def dvc_folder(project: Path, levels: int, name: str) -> Path:
    """Find the `.dvc` folder in ``project`` or at most ``levels`` folders above it.

    Raises:
        AtlasError: there is none; ``name`` says of what.
    """
    for folder in (project, *project.parents[:levels]):
        if (folder / ".dvc").is_dir():
            return folder / ".dvc"
    raise AtlasError(f"{name} is no DVC project: there is no .dvc folder beside its dvc.yaml (`dvc init` makes it)")


def is_dirty(revision: Revision) -> bool:
    """Tell whether the user's tree differs from what is committed."""
    return bool(changed_files(revision.top / revision.project, "."))


@contextlib.contextmanager
def open_workspace(revision: Revision, keep: Path | None) -> Iterator[Workspace]:
    """Check ``revision`` out into a temporary folder, or into ``keep``, which stays.

    The clone borrows the repository's objects and leaves nothing in it: no worktree entry, no branch, no file.

    Raises:
        AtlasError: ``keep`` holds something, or git cannot clone.
    """
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise AtlasError(f"{keep} is not empty: give --keep a new folder")
    root = keep.absolute() if keep is not None else Path(tempfile.mkdtemp(prefix="vit-atlas-reproduce-"))
    try:
        with _ended_by_sigterm():
            _clone(revision, root)
            yield Workspace(root / revision.project, revision)
    finally:
        if keep is None:
            shutil.rmtree(root, ignore_errors=True)


def run_group(command: Sequence[str], folder: Path, environment: dict[str, str]) -> int:
    """Run a command, its output on stderr; whatever interrupts us ends the command and all that it started."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=2, start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _clone(revision: Revision, root: Path) -> None:
    # A hook of the user's (DVC installs one for checkouts) has no business in the workspace.
    quiet = ("-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
    steps = (
        (*quiet, "clone", "--quiet", "--shared", "--no-checkout", str(revision.top), str(root)),
        (*quiet, "-C", str(root), "checkout", "--quiet", "--detach", revision.sha),
    )
    for step in steps:
        done = git(revision.top, *step)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
            raise AtlasError(f"git could not check {revision.name} out into {root}: {said[-1]}")


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM (a runner that cancels a job) unwind the stack, so that the workspace is removed."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
