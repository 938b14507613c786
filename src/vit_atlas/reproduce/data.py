"""The data of a revision, brought into its workspace and checked against the hashes in its .dvc files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from vit_atlas.errors import AtlasError
from vit_atlas.reproduce.workspace import DVC, Workspace, dvc_folder

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
    source, remotes = _fetch(workspace, project, pointers)
    source = source or _make_sample(workspace, pointers, hashes)
    if not source:
        where = f"not in the DVC remote ({', '.join(remotes)})" if remotes else "no DVC remote is configured"
        raise AtlasError(
            f"the data of {workspace.revision.name} is not in the local DVC cache, {where}, and it is not the sample, "
            "which could be made anew: `dvc push` it from where it lies, or `dvc remote add` the remote that has it"
        )
    _verify(workspace, pointers)
    return hashes, source


def _fetch(workspace: Workspace, project: Path, pointers: list[str]) -> tuple[str, list[str]]:
    """Bring the data from the user's DVC cache or remotes; returns which (empty if neither) and the remotes' names."""
    remotes = _share(workspace, project, with_remotes=True)
    try:
        if _quietly(workspace, *DVC, "checkout", "--quiet", *pointers):
            return "the local DVC cache", remotes
        if remotes and workspace.run(*DVC, "pull", *pointers, state="fetch") == 0:
            return "the DVC remote", remotes
        return "", remotes
    finally:
        # The revision's code may be anybody's: the remotes' passwords are gone before it runs.
        _share(workspace, project, with_remotes=False)


def _make_sample(workspace: Workspace, pointers: list[str], hashes: dict[str, str]) -> str:
    """Make the sample with the revision's own code; says so where it is the revision's data, as only its hash tells."""
    commands = list((workspace.folder / "src" / "vit_atlas").glob("cli*"))
    if set(hashes) != {"data"} or not commands or workspace.run(sys.executable, *MAKE_SAMPLE, state="fetch") != 0:
        return ""
    return "" if _changed(workspace, pointers) else "made anew by `vit-atlas data stickers`"


def _verify(workspace: Workspace, pointers: list[str]) -> None:
    if changed := _changed(workspace, pointers):
        raise AtlasError(
            f"the data in hand is not the data of {workspace.revision.name}: {', '.join(changed)} has another hash "
            "than its .dvc file records; where the DVC cache is damaged, remove that file from it and `dvc pull`"
        )


def _changed(workspace: Workspace, pointers: list[str]) -> list[str]:
    """Name the data whose content is not what its .dvc file records."""
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
    return [str(path) for path in json.loads(done.stdout)]


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
