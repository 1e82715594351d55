"""The files of a workspace as they are now, told by their bytes; what is as it was when last read is not read again."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.workspace.changes import LEFT_OUT
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import folder_beneath
from callsheet.workspace.stock import BATCH_BYTES, Entry

MOST_BYTES = 50 * 1024 * 1024
"""A larger file is left out, and named."""

TEMPORARY = ".callsheet-restore-"
"""What the names of files begin with that a restore has under way."""

_FRESH_NS = 2_000_000_000
"""A file that changed as shortly before it was read may change again within one tick of the file system's clock."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = frozenset({"missing", "link", "not_a_folder"})
_OURS = re.compile(r"\.callsheet-(?:restore-)?[0-9a-f]{16}")
_Stamp: TypeAlias = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was when it was read.

    Attributes:
        stamp: Device, inode, mode, size, times of the last change of content and of anything.
        is_sure: As long as the stamp is the same, so are the bytes.
    """

    stamp: _Stamp
    entry: Entry
    is_sure: bool


@dataclass(frozen=True, slots=True)
class Read:
    """A file that was read, with its bytes; or why it was not."""

    path: str
    seen: Seen | None
    content: bytes = b""
    fault: str | None = None


def wanted(paths: Iterable[str]) -> list[str]:
    """Without git's and our own folders, and files that are being written."""
    return [path for path in paths if LEFT_OUT.isdisjoint(parts := path.split("/")) and not _OURS.fullmatch(parts[-1])]


def unchanged(root: Path, paths: Iterable[str], known: dict[str, Seen]) -> tuple[dict[str, Seen], list[str]]:
    """For a worker thread.

    Returns:
        Files that are as they were when read, and those that are to be read, or are gone.
    """
    same: dict[str, Seen] = {}
    others: list[str] = []
    for folder, names in _by_folder(paths):
        prefix = f"{folder}/" if folder else ""
        try:
            with folder_beneath(root, folder or ".") as here:
                for name in names:
                    path = prefix + name
                    seen = known.get(path)
                    if seen is not None and seen.is_sure and stamp_of(here, name) == seen.stamp:
                        same[path] = seen
                    else:
                        others.append(path)
        except WorkspacePathError:
            others += [prefix + name for name in names]
    return same, others


def read(root: Path, paths: list[str], name_of: Callable[[bytes], str]) -> tuple[list[Read], list[str]]:
    """Reads files up to `BATCH_BYTES`. For a worker thread.

    Args:
        root: The workspace.
        paths: In any order; those that are gone are passed over.
        name_of: What bytes are called.

    Returns:
        What was read, and the paths that are still to be read.
    """
    found: list[Read] = []
    size = 0
    for number, (folder, names) in enumerate(folders := list(_by_folder(paths))):
        if size > BATCH_BYTES:
            return found, [f"{each}/{name}" if each else name for each, more in folders[number:] for name in more]
        prefix = f"{folder}/" if folder else ""
        try:
            with folder_beneath(root, folder or ".") as here:
                for name in names:
                    one = _read_one(here, name, prefix + name, name_of)
                    if one is not None:
                        size += len(one.content)
                        found.append(one)
        except WorkspacePathError as error:
            if error.fault not in _GONE:
                found += [Read(prefix + name, None, fault=error.message) for name in names]
    return found, []


def _by_folder(paths: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    folders: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    yield from folders.items()


def _stamp(found: os.stat_result) -> _Stamp:
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def stamp_of(here: int, name: str) -> _Stamp | None:
    """Of a name in an open folder; None where there is nothing."""
    with suppress(OSError):
        return _stamp(os.stat(name, dir_fd=here, follow_symlinks=False))
    return None


def _read_one(here: int, name: str, path: str, name_of: Callable[[bytes], str]) -> Read | None:
    """None where there is neither file nor link of that name."""
    began = time.time_ns()
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            content = os.fsencode(os.readlink(name, dir_fd=here))
        elif not stat.S_ISREG(found.st_mode):
            return None
        elif found.st_size > MOST_BYTES:
            return Read(path, None, fault=f"larger than {MOST_BYTES // 1024**2} MB")
        else:
            found, content = _content(here, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Read(path, None, fault=os.strerror(error.errno or 0).lower())
    entry = Entry(found.st_mode, name_of(content))
    return Read(path, Seen(_stamp(found), entry, found.st_ctime_ns < began - _FRESH_NS), content)


def _content(here: int, name: str) -> tuple[os.stat_result, bytes]:
    descriptor = os.open(name, _READ, dir_fd=here)
    try:
        found = os.fstat(descriptor)
        content = os.read(descriptor, found.st_size + 1)
        while len(content) > found.st_size or (len(content) < found.st_size and content):
            more = os.read(descriptor, MOST_BYTES)
            content += more
            if not more:
                break
            if len(content) > MOST_BYTES:
                raise OSError(27, "it grows")
        return found, content
    finally:
        os.close(descriptor)
