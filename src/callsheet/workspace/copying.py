"""Copies of many files, bytes, modes and times, read without following any link."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.workspace.changes import Stamp, stamp
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import folder_beneath, open_beneath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1024 * 1024
_MANY_FOLDERS = 50
_AT_A_TIME = 2
_FRESH_NS = 2_000_000_000
_GONE = frozenset({"missing", "link", "not_a_folder"})


def _umask() -> int:
    """What the system takes away from the mode of a new file; all, where it does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0o777
    said = next((entry for entry in status.splitlines() if entry.startswith("Umask:")), "Umask: 777")
    return int(said.split()[1], 8)


def new_folder_mode() -> int:
    """The mode that a folder gets when it is made."""
    return 0o777 & ~_umask()


def stamps_of(source: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """How files are now, those that are there; for a worker thread."""
    by_folder = _by_folder(paths)
    found: dict[str, Stamp] = {}
    for folder, names in by_folder.items():
        prefix = f"{folder}/" if folder else ""
        with suppress(WorkspacePathError), folder_beneath(source, folder or ".") as here:
            for name in names:
                with suppress(OSError):
                    found[prefix + name] = stamp(os.stat(name, dir_fd=here, follow_symlinks=False))
    return found


def copy_files(source: Path, target: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """Copies files and links, with the folders on their way. What has gone meanwhile is left out.

    Others may be at work in the source: a folder that has become a link is not gone through, since it could lead
    anywhere.

    Args:
        source: A folder, absolute and without links.
        target: A folder that nobody else knows yet.
        paths: Relative to either, without `..`.

    Returns:
        How files were of which it is sure that the copy is what they were: none that changed a moment before.

    Raises:
        WorkspacePathError: A folder cannot be read.
        OSError: A file cannot be read or written.
    """
    copying = _Copying(umask=_umask(), sure_until_ns=time.time_ns() - _FRESH_NS)
    by_folder = _by_folder(paths)
    if len(by_folder) < _MANY_FOLDERS:
        for folder, names in by_folder.items():
            copying.names(source, target, folder, names)
        return copying.sure
    with ThreadPoolExecutor(_AT_A_TIME) as threads:  # the system works for several at once, most of all on disks
        works = [threads.submit(copying.names, source, target, *each) for each in by_folder.items()]
        try:
            for work in works:
                work.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return copying.sure


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        by_folder.setdefault(folder, []).append(name)
    return by_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copying:
    """What all threads of one copying share."""

    umask: int
    sure_until_ns: int
    sure: dict[str, Stamp] = field(default_factory=dict)

    def names(self, source: Path, target: Path, folder: str, names: Iterable[str]) -> None:
        try:
            here = open_beneath(source, folder or ".", _FOLDER)
        except WorkspacePathError as error:
            if error.fault not in _GONE:
                raise
            return
        try:
            self._folder(f"{folder}/" if folder else "", names, here, target / folder)
        finally:
            os.close(here)

    def _folder(self, prefix: str, names: Iterable[str], here: int, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        there = os.open(target, _FOLDER | os.O_CLOEXEC)
        try:
            for name in names:
                self._one(prefix, name, here, there)
        finally:
            os.close(there)

    def _one(self, prefix: str, name: str, here: int, there: int) -> None:
        try:
            descriptor = os.open(name, _READ, dir_fd=here)
        except FileNotFoundError:
            return
        except OSError:
            _copy_link(name, here, there)
            return
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                _copy_content(descriptor, found, name, there, self.umask)
                if found.st_ctime_ns < self.sure_until_ns:
                    self.sure[prefix + name] = stamp(found)
        finally:
            os.close(descriptor)


def _copy_link(name: str, here: int, there: int) -> None:
    """A link, by what it says; what is neither link nor file that can be read is an error."""
    found = os.stat(name, dir_fd=here, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.close(os.open(name, _READ, dir_fd=here))
        return
    os.symlink(os.readlink(name, dir_fd=here), name, dir_fd=there)


def _copy_content(source: int, found: os.stat_result, name: str, there: int, umask: int) -> None:
    mode = stat.S_IMODE(found.st_mode) & 0o777
    descriptor = os.open(name, _MAKE, mode | stat.S_IWUSR, dir_fd=there)
    try:
        piece_bytes = min(found.st_size + 1, _PIECE_BYTES)  # a large one is made and given back for every file
        while piece := os.read(source, piece_bytes):
            written = os.write(descriptor, piece)
            while written < len(piece):
                written += os.write(descriptor, memoryview(piece)[written:])
            if len(piece) < piece_bytes:
                break
        if mode & umask or not mode & stat.S_IWUSR:  # a call for each of ten thousand files is spared where it can be
            os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(descriptor)
