"""The files of a result that a comparison reads: of this folder, of another one, or of a commit.

Git holds a commit's numbers and its confusion table; tables by photo and maps are asked of DVC's cache by the hashes in
the commit's dvc.lock, and of the DVC remote where there is one.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from vit_atlas import paths
from vit_atlas.errors import AtlasError
from vit_atlas.io.files import read_json
from vit_atlas.io.plain import flatten, load_yaml
from vit_atlas.reproduce.workspace import Revision, dvc_folder, find_revision

SCORES = paths.ATTENTION_DATA / "scores.csv"
MAPS = paths.ATTENTION_DATA / "maps.npz"
WORDS = paths.CAPTION_DATA / "words.csv"
BY_PHOTO = (paths.PREDICTIONS, SCORES, MAPS, paths.INTERVENTIONS, WORDS)
"""What git does not hold. The captioner may be off and masks may be missing, so none of them must be there."""
IN_GIT = ("evaluate", "attention", "interventions", "caption")
"""Files of metrics/ that are compared."""


@dataclass(frozen=True)
class Result:
    """One side of a comparison."""

    name: str
    """As it is shown."""
    folder: Path
    """Where its files lie, under the paths that they have in a project."""
    commit: str | None = None
    unavailable: tuple[str, ...] = ()
    """Files that its dvc.lock records and that are in neither cache nor remote."""
    photos: Path = Path()
    """The folder that paths of photos are relative to: of a commit the present one, which may still have them."""

    def has(self, path: Path) -> bool:
        """Tell whether the result has the file."""
        return (self.folder / path).is_file()

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Read the metrics files that there are, flat, by their name without suffix."""
        files = {name: self.folder / "metrics" / f"{name}.json" for name in IN_GIT}
        return {name: flatten(read_json(path)) for name, path in files.items() if path.is_file()}

    def setting(self, section: str, name: str) -> Any:
        """Look a setting up; None where the result does not have it."""
        content = _yaml((self.folder / paths.PARAMS).read_bytes()) if self.has(paths.PARAMS) else {}
        values = content.get(section)
        return values.get(name) if isinstance(values, dict) else None

    def recorded(self, path: Path) -> str | None:
        """Give the hash of an out in dvc.lock; None where there is no such record."""
        lock = self.folder / "dvc.lock"
        return _outs(lock.read_bytes()).get(path.as_posix()) if lock.is_file() else None

    def shares(self, path: Path, other: "Result") -> bool:
        """Tell whether both results record the same content of an out."""
        return self.recorded(path) is not None and self.recorded(path) == other.recorded(path)


def repeat_tables(result: Result, section: str, folder: Path, name: str) -> list[Path]:
    """Name a table of every further training that the result consists of, where all of them have it."""
    seeds = result.setting(section, "repeats")
    tables = [folder / str(seed) / name for seed in seeds] if isinstance(seeds, list) else []
    return tables if all(result.has(path) for path in tables) else []


def open_result(name: str | None, scratch: Path, more: Sequence[Path] = ()) -> Result:
    """Bring the files of a result.

    Args:
        name: a commit, branch, tag or DVC experiment of the project in the present folder; the folder of a project; a
            maps.npz; or None for the present folder.
        scratch: an empty folder for files that are not in a folder yet.
        more: outs to bring beside those that are always compared.

    Raises:
        AtlasError: there is no such thing, or it holds no result.
    """
    if name is None:
        result = Result("this folder", Path())
    elif name.endswith(".npz"):
        _copy(Path(name), scratch / MAPS)
        return Result(name, scratch)
    elif name and (Path(name) / "dvc.yaml").is_file():
        result = Result(name, Path(name), photos=Path(name))
    else:
        result = _of_commit(find_revision(name, Path()), scratch, more)
    if not result.metrics() and not any(map(result.has, BY_PHOTO)):
        raise AtlasError(f"{result.name} holds no result: neither metrics/*.json nor what they are made from")
    return result


def _of_commit(revision: Revision, scratch: Path, more: Sequence[Path]) -> Result:
    wanted = [paths.PARAMS.as_posix(), "dvc.lock", paths.CONFUSION.as_posix()]
    for path in wanted + [f"metrics/{name}.json" for name in IN_GIT]:
        content = revision.read(path)
        if content is not None:
            _write(scratch / path, content)
    label = f"{revision.name} ({revision.sha[:8]})" if not revision.sha.startswith(revision.name) else revision.name
    result = Result(label, scratch, revision.sha)
    lock = scratch / "dvc.lock"
    outs = _outs(lock.read_bytes()) if lock.is_file() else {}
    asked = [path for path in [*BY_PHOTO, *_of_repeats(result), *more] if _out_of(path, outs)]
    missing = _bring(asked, outs, revision, scratch) if asked else []
    return Result(label, scratch, revision.sha, tuple(path.as_posix() for path in missing))


def _of_repeats(result: Result) -> list[Path]:
    kinds = (
        ("finetune", paths.REPEATS, (paths.PREDICTIONS.name, SCORES.name)),
        ("captions", paths.CAPTION_REPEATS, (WORDS.name,)),
    )
    return [
        folder / str(seed) / name
        for section, folder, names in kinds
        for seed in result.setting(section, "repeats") or ()
        for name in names
    ]


def _bring(asked: Sequence[Path], outs: Mapping[str, str], revision: Revision, scratch: Path) -> list[Path]:
    """Copy files from DVC's cache or remote into ``scratch``; returns those that are in neither."""
    project = revision.top / revision.project
    try:
        cache, remotes = _storage(project, revision)
    except AtlasError:
        return list(asked)
    missing = [path for path in asked if not _from_cache(path, outs, cache, scratch)]
    return [path for path in missing if not (remotes and _from_remote(path, project, revision.sha, scratch))]


def _storage(project: Path, revision: Revision) -> tuple[Path, bool]:
    """DVC's cache folder, and whether a remote is configured."""
    from dvc.config import Config, ConfigError

    home = dvc_folder(project, len(revision.project.parts), str(project))
    try:
        settings: Any = Config(dvc_dir=str(home))
    except ConfigError as error:
        raise AtlasError(f"DVC cannot read the configuration in {home}: {error}") from None
    return Path(settings.get("cache", {}).get("dir") or home / "cache"), bool(settings.get("remote"))


def _from_cache(path: Path, outs: Mapping[str, str], cache: Path, scratch: Path) -> bool:
    out = _out_of(path, outs)
    digest = outs[out]
    try:
        if digest.endswith(".dir"):
            listed = json.loads(_object(cache, digest).read_bytes())
            inside = path.relative_to(out).as_posix()
            digest = next((item["md5"] for item in listed if item["relpath"] == inside), "")
        if not digest:
            return False
        _copy(_object(cache, digest), scratch / path)
    except (AtlasError, OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _from_remote(path: Path, project: Path, commit: str, scratch: Path) -> bool:
    from dvc.api import DVCFileSystem

    target = scratch / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        DVCFileSystem(str(project), rev=commit).get_file(path.as_posix(), str(target))
    except Exception:
        # What a store raises depends on its kind and on what DVC's index made of it; the file is not to be had.
        target.unlink(missing_ok=True)
        return False
    return target.is_file()


def _object(cache: Path, digest: str) -> Path:
    return cache / "files" / "md5" / digest[:2] / digest[2:]


def _out_of(path: Path, outs: Mapping[str, str]) -> str:
    """Name the out that is the file or the folder that it is in; empty where no stage makes it."""
    return next((out for out in map(str, (path, *path.parents)) if out in outs), "")


def _outs(lock: bytes) -> dict[str, str]:
    """Read the hashes of all outs from a dvc.lock."""
    stages = _yaml(lock).get("stages")
    entries = [entry for entry in stages.values() if isinstance(entry, dict)] if isinstance(stages, dict) else []
    listed = [item for entry in entries for item in entry.get("outs") or [] if isinstance(item, dict)]
    return {str(item["path"]): str(item["md5"]) for item in listed if item.get("md5") and "path" in item}


def _yaml(content: bytes) -> dict[str, Any]:
    try:
        found = load_yaml(content)
    except YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise AtlasError(f"{source} does not exist") from None
