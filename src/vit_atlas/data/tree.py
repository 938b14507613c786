"""A folder of photos as it is found: listed once, the same in any order of listing, without junk."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vit_atlas.data.candidates import Rejected
from vit_atlas.data.junk import is_junk
from vit_atlas.data.photos import looks_like_photo
from vit_atlas.errors import AtlasError, some


@dataclass
class Folder:
    """A folder with what lies in it, sorted by name."""

    path: Path
    files: list[Path] = field(default_factory=list)
    """Everything that is no folder, whatever it turns out to be when it is opened."""
    folders: list["Folder"] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Last part of its path."""
        return self.path.name

    def below(self) -> Iterator["Folder"]:
        """Yield this folder and every one below it."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.folders)

    def all_files(self) -> list[Path]:
        """Files here and below."""
        return [path for folder in self.below() for path in folder.files]


@dataclass(frozen=True)
class Tree:
    """A folder with all below it."""

    root: Folder
    ignored: tuple[str, ...]
    """Files and folders (these end in a slash) that belong to a system or a program."""
    rejected: tuple[Rejected, ...]
    """Links to folders that are listed already, as in a loop."""


def read_tree(root: Path) -> Tree:
    """List ``root`` recursively; junk goes to :attr:`Tree.ignored`.

    Links to folders are followed; a folder that is listed already is not listed again (:attr:`Tree.rejected`).

    Raises:
        AtlasError: a folder cannot be listed.
    """
    try:
        return _read_tree(root)
    except OSError as error:
        place = f": {readable(error.filename)}" if error.filename else ""
        raise AtlasError(f"{root} cannot be listed ({error.strerror}{place}): correct its permissions") from None


def files_below(root: Path) -> list[Path]:
    """Everything below ``root`` that is no folder and no junk, sorted by name in each folder.

    Raises:
        AtlasError: a folder cannot be listed.
    """
    return read_tree(root).root.all_files()


def find_table(root: Folder, names: Sequence[str], content: str) -> Path | None:
    """The table in ``root`` that has one of ``names``, in any letter case; None where there is none.

    Raises:
        AtlasError: there are several; the message calls what they hold ``content``.
    """
    found = [path for path in root.files if path.name.lower() in names]
    if len(found) > 1:
        raise AtlasError(f"{root.path} has several tables of {content} ({some(p.name for p in found)}): keep one")
    return found[0] if found else None


def finder(root: Folder, files: Iterable[Path]) -> Callable[[str], Path | None]:
    """Make a function that resolves a name in a table to one of ``files``, or to None: no file matches, or several.

    An exact match comes first, then the same name in another Unicode normal form, then in another letter case, then
    the one photo whose path ends so (`1.jpg` for `images/1.jpg`), also where the name lacks the ending `.jpg`, or is an
    absolute path of another machine that ends in the photo's. A backslash counts as a slash.

    Args:
        root: the folder that names are relative to.
        files: those that may be named, all below ``root``; a name cannot lead out of them.
    """
    exact: dict[str, Path] = {}
    alike: dict[str, list[Path]] = defaultdict(list)
    by_end: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for path in files:
        name = name_below(root.path, path)
        exact[name] = path
        whole = folded(name)
        alike[whole].append(path)
        by_end[whole.rpartition("/")[2]].append((whole, path))
        if looks_like_photo(path):
            bare = whole.removesuffix(path.suffix.casefold())
            by_end[bare.rpartition("/")[2]].append((bare, path))

    def find(text: str) -> Path | None:
        for name in dict.fromkeys((text, text.replace("\\", "/"))):
            plain = PurePosixPath(name).as_posix()
            if plain in exact:
                return exact[plain]
            near = alike[folded(plain)]
            composed = [
                p
                for p in near
                if unicodedata.normalize("NFC", name_below(root.path, p)) == unicodedata.normalize("NFC", plain)
            ]
            if len(composed or near) == 1:
                return (composed or near)[0]
        wanted = folded(text)
        ends = {path for name, path in by_end[wanted.rpartition("/")[2]] if _same_end(wanted, name)}
        return ends.pop() if len(ends) == 1 else None

    return find


def folded(name: str) -> str:
    """A path as text to compare by: composed, letters small, slashes forward."""
    name = PurePosixPath(name.replace("\\", "/")).as_posix()
    return unicodedata.normalize("NFC", name).casefold()


def _same_end(wanted: str, name: str) -> bool:
    """Whether one path is the end of the other, whole folders each; only an absolute one may be the longer."""
    absolute = wanted.startswith("/") or wanted[1:3] == ":/"
    return f"/{name}".endswith(f"/{wanted}") or (absolute and wanted.endswith(f"/{name}"))


def _read_tree(root: Path) -> Tree:
    top = Folder(root)
    ignored: list[str] = []
    rejected: list[Rejected] = []
    seen = {_identity(folder) for folder in (root, *root.resolve().parents)}
    links: list[tuple[Folder, Folder]] = []
    _list_below(top, seen, links, ignored)
    while links:  # after the folders, so that one that is inside the root is listed in its own place
        links.sort(key=lambda pair: pair[1].path.as_posix(), reverse=True)
        parent, folder = links.pop()
        identity = _identity(folder.path)
        if identity in seen:
            reason = "a link to a folder that is listed already, or that holds this one"
            rejected.append(Rejected(name_below(root, folder.path), reason, "link-to-folder"))
            continue
        seen.add(identity)
        parent.folders.append(folder)
        _list_below(folder, seen, links, ignored)
    for folder in top.below():
        folder.files.sort(key=lambda path: path.name)
        folder.folders.sort(key=lambda child: child.name)
    return Tree(
        top, tuple(sorted(name_below(root, Path(name)) + "/" * name.endswith("/") for name in ignored)), tuple(rejected)
    )


def _list_below(
    top: Folder, seen: set[tuple[int, int]], links: list[tuple[Folder, Folder]], ignored: list[str]
) -> None:
    """Fill ``top`` and its folders; links to folders and what is ignored are only noted."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        with os.scandir(folder.path) as entries:
            for entry in entries:
                path = folder.path / entry.name
                if is_junk(entry.name):
                    ignored.append(f"{path}/" if _is_folder(entry) else str(path))
                elif not _is_folder(entry):
                    folder.files.append(path)
                elif entry.is_symlink():
                    links.append((folder, Folder(path)))
                else:
                    folder.folders.append(Folder(path))
        for child in folder.folders:
            seen.add(_identity(child.path))
            waiting.append(child)


def name_below(root: Path, path: Path) -> str:
    """``path`` relative to ``root`` with forward slashes; bytes that are no UTF-8 appear as escapes."""
    return readable(path.relative_to(root).as_posix())


def readable(name: str) -> str:
    """A file's name as text that can be written: bytes that are no UTF-8 appear as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
