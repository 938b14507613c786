"""Writing outputs so that a reader never sees half of one."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from vit_atlas.errors import AtlasError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What libraries written in Rust or C++ say instead of raising an OSError; torch's writer says nothing of the reason.
_NO_ROOM_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
_TORCH_WRITER = ("PytorchStreamWriter failed", "inline_container.cc")
_TORN = "the disk took only a part of it"


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block ends without an exception.

    Any file already at ``path`` stays whole until then, and stays for good if the block raises. What a process that was
    killed left here is removed.

    Raises:
        AtlasError: the disk is full.
    """
    target = Path(path)
    with telling_full_disk(target):
        _make_room_for(target)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}.{_owner()}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; put it in the place of ``path`` when the block ends well.

    Whatever was at ``path`` is replaced as a whole, so files of an earlier run never mix with new ones. What a process
    that was killed left here is removed.

    Raises:
        AtlasError: the disk is full, or ``path`` is a file or a link that leads nowhere.
    """
    target = Path(path)
    require_place(target)
    with telling_full_disk(target):
        _make_room_for(target)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.{_owner()}-", dir=target.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            old = temporary.with_name(f"{temporary.name}.old")
            if target.exists():
                target.replace(old)
            temporary.replace(target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def telling_full_disk(path: str | Path | None = None) -> Iterator[None]:
    """Turn a full disk, met by whatever library in the block, into one sentence.

    Args:
        path: what is being written; None when only the exception may know.

    Raises:
        AtlasError: the disk is full, the quota used up, or the file too large for the file system.
    """
    try:
        yield
    except _FullDiskError as inner:
        if path is None:
            raise
        raise _FullDiskError(path, inner.reason) from inner  # The output, not a part of it under a temporary name.
    except AtlasError:
        raise
    except Exception as error:
        cause = _no_room(error)
        if cause is None:
            raise
        reason, named = cause
        raise _FullDiskError(path or named, reason) from error


class _FullDiskError(AtlasError):
    """The sentence about a full disk."""

    def __init__(self, path: str | Path | None, reason: str) -> None:
        free = free_space(path or ".")
        self.reason = os.strerror(errno.ENOSPC) if reason == _TORN and free < 2**20 else reason
        super().__init__(
            f"{path or 'a file'} could not be written: {self.reason} ({free / 1e6:.1f} MB are free there); "
            "free some space and run the same command again"
        )


def write_json(path: str | Path, value: Any, decimals: int = 6) -> None:
    """Write ``value`` as indented JSON, atomically, keys in the order given and floats rounded to ``decimals``."""
    with atomic_file(path) as temporary:
        temporary.write_text(
            json.dumps(_rounded(value, decimals), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        AtlasError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AtlasError(f"{path} does not exist: run `dvc repro` (or the stage that writes it) first") from None
    except json.JSONDecodeError as error:
        raise AtlasError(f"{path} is not valid JSON ({error}): delete it and run `dvc repro` again") from None


def free_space(folder: str | Path) -> int:
    """Bytes that are free on the file system of ``folder``, which need not exist yet."""
    return shutil.disk_usage(_existing(Path(folder))).free


def require_place(folder: Path) -> None:
    """Check that ``folder`` is a folder or missing, before anything is made for it.

    Raises:
        AtlasError: it is a file or a link that leads nowhere.
    """
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise AtlasError(f"{folder} is to be a folder, and there is something else: move it away")


def require_free_space(folder: str | Path, needed_bytes: int, purpose: str, remedy: str) -> None:
    """Raise before writing when ``folder``'s file system lacks room for ``needed_bytes`` and a tenth more.

    Raises:
        AtlasError: names the purpose, the room needed, the room there is, and ``remedy``.
    """
    free, needed = free_space(folder), needed_bytes * 1.1
    if free < needed:
        raise AtlasError(
            f"{purpose} needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free: {remedy}"
        )


def reserve(path: str | Path, size: int) -> None:
    """Take room for ``size`` bytes at ``path`` now, where a file is there or is made.

    A file that is mapped into memory has no room of its own until it is written, and running out of it then would kill
    the process without a word.

    Raises:
        OSError: there is no room.
    """
    with Path(path).open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _no_room(error: BaseException) -> tuple[str, str | None] | None:
    """Why the disk refused and the file that it refused, if that is what ``error`` or a cause of it says."""
    chain: BaseException | None = error
    while chain is not None:
        text = str(chain)
        if isinstance(chain, OSError) and chain.errno in _NO_ROOM:
            return os.strerror(chain.errno), chain.filename
        if any(words in text for words in _NO_ROOM_TEXTS):
            return next(words for words in _NO_ROOM_TEXTS if words in text), None
        if isinstance(chain, RuntimeError) and any(words in text for words in _TORCH_WRITER):
            return _TORN, None
        chain = chain.__cause__ or chain.__context__
    return None


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def _make_room_for(target: Path) -> None:
    """Make the folder of ``target``, and remove the temporary names that dead processes left for it there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = re.compile(rf"\.(?:{re.escape(target.stem)}|{re.escape(target.name)})\.(\d+-\d+)-\w+(\.\w+)?")
    for path in target.parent.iterdir():
        match = name.fullmatch(path.name)
        if match and not _alive(match[1]):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _owner() -> str:
    """This process: its number, and the second it began, because numbers are given again."""
    process = psutil.Process()
    return f"{process.pid}-{int(process.create_time())}"


def _alive(owner: str) -> bool:
    pid, began = map(int, owner.split("-"))
    try:
        return int(psutil.Process(pid).create_time()) == began
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _rounded(value: Any, decimals: int) -> Any:
    if isinstance(value, float):
        return round(value, decimals)
    if isinstance(value, dict):
        return {key: _rounded(item, decimals) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item, decimals) for item in value]
    return value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
