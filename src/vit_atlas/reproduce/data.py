"""The data of a revision, brought into its workspace and checked against the hashes in its .dvc files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from vit_atlas.errors import AtlasError
from vit_atlas.reproduce.workspace import DVC, Workspace, dvc_folder

SAMPLES = frozenset({"91dbe682a6592383847f2748c8ba16bd.dir", "ab74a2bcff3f9c782e91763a622c6fdc.dir"})
"""DVC's hashes of the sample, in every version that was committed: `vit-atlas data stickers` makes it anywhere."""

MAKE_SAMPLE = ("-c", "from vit_atlas.cli import app; app()", "data", "stickers", "--replace")

# `dvc status` cannot tell changed data from data that merely is not in the cache.
NAME_CHANGED = """
import json, sys
from dvc.repo import Repo
with Repo() as repo, repo.lock:
    outs = [out for name in sys.argv[1:] for stage in repo.stage.load_file(name) for out in stage.outs]
    print(json.dumps([str(out) for out in outs if out.changed_checksum()]))
"""


def bring_data(workspace: Workspace, project: Path) -> tuple[dict[str, str], str]:
    """Bring what the revision's .dvc files name: from the user's cache, a DVC remote, or made anew.

    Args:
        workspace: the revision's.
        project: the user's project, whose DVC cache and remotes serve.

    Returns:
        DVC's hash of each path, and where the data came from, in words.

    Raises:
        AtlasError: the data is nowhere to be had, or is not what the .dvc files name.
    """
    pointers = workspace.revision.files("*.dvc")
    hashes = {path: digest for name in pointers for path, digest in _named(workspace, name)}
    if not pointers:
        return {}, "none: the revision has no .dvc file"
    remotes = _share(workspace, project, with_remotes=True)
    try:
        source = _fetch(workspace, pointers, hashes, remotes)
    finally:
        # The revision's code may be anybody's: the remotes' passwords are gone before it runs.
        _share(workspace, project, with_remotes=False)
    _verify(workspace, pointers)
    return hashes, source


def _fetch(workspace: Workspace, pointers: list[str], hashes: dict[str, str], remotes: list[str]) -> str:
    if _quietly(workspace, *DVC, "checkout", "--quiet", *pointers):
        return "the local DVC cache"
    if remotes and workspace.run(*DVC, "pull", *pointers, state="fetch") == 0:
        return "the DVC remote"
    name = workspace.revision.name
    if set(hashes.values()) <= SAMPLES:
        if workspace.run(sys.executable, *MAKE_SAMPLE, state="fetch") == 0:
            return "made anew by `vit-atlas data stickers`"
        raise AtlasError(
            f"the data of {name} is the sample, it is not in the local DVC cache, and it could not be made anew for "
            "the reason printed above"
        )
    if remotes:
        raise AtlasError(
            f"the data of {name} is neither in the local DVC cache nor to be had from the DVC "
            f"remote ({', '.join(remotes)}): see what `dvc pull` printed above, or `dvc push` it from where it lies"
        )
    raise AtlasError(
        f"the data of {name} is not in the local DVC cache, no DVC remote is configured, and it is "
        "not the sample, which could be made anew: `dvc remote add` the remote that has it, or `dvc add` it again"
    )


def _verify(workspace: Workspace, pointers: list[str]) -> None:
    # Another state folder than that of checkout and pull: DVC reads and hashes every file.
    done = subprocess.run(
        [sys.executable, "-c", NAME_CHANGED, *pointers],
        cwd=workspace.folder,
        env=workspace.environment("verify"),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise AtlasError(f"DVC could not read the data of {workspace.revision.name}: {said[-1]}")
    if changed := json.loads(done.stdout):
        raise AtlasError(
            f"the data in hand is not the data of {workspace.revision.name}: {', '.join(changed)} has another hash "
            "than its .dvc file records; where the DVC cache is damaged, remove that file from it and `dvc pull`"
        )


def _quietly(workspace: Workspace, *command: str) -> bool:
    environment = workspace.environment("fetch")
    return subprocess.run(command, cwd=workspace.folder, env=environment, capture_output=True).returncode == 0


def _named(workspace: Workspace, pointer: str) -> list[tuple[str, str]]:
    """Read the paths and hashes of a .dvc file as committed, paths relative to the project."""
    try:
        outs = yaml.safe_load(workspace.revision.read(pointer) or b"")["outs"]
        return [((Path(pointer).parent / out["path"]).as_posix(), str(out.get("md5", "?"))) for out in outs]
    except (yaml.YAMLError, TypeError, KeyError):
        raise AtlasError(f"{pointer} of {workspace.revision.name} is no .dvc file that DVC 3 can read") from None


def _share(workspace: Workspace, project: Path, with_remotes: bool) -> list[str]:
    """Let the workspace read the user's DVC cache (and, for a while, use the user's remotes); names the remotes."""
    from dvc.config import Config, ConfigError

    home = dvc_folder(project, len(workspace.revision.project.parts), str(project))
    try:
        theirs: Any = Config(dvc_dir=str(home))
        own: Any = Config(dvc_dir=str(workspace.dvc), validate=False)
        cache = theirs.get("cache", {})
        remotes = theirs.get("remote", {})
        with own.edit("local") as local:
            # As loaded, relative paths of the user's files are whole paths.
            local["cache"] = {"dir": str(cache.get("dir") or home / "cache")}
            local["remote"] = {name: dict(values) for name, values in remotes.items()} if with_remotes else {}
            default = theirs.get("core", {}).get("remote")
            local["core"] = {"remote": default} if with_remotes and default else {}
    except ConfigError as error:
        raise AtlasError(f"DVC cannot read the configuration in {home}: {error}") from None
    (workspace.dvc / "config.local").chmod(0o600)
    return sorted(remotes)
