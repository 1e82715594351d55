"""Copies of many files, bytes, modes and times, read without following any link."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import open_beneath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1024 * 1024
_MANY_FOLDERS = 50
_AT_A_TIME = 2
_GONE = frozenset({"missing", "link", "not_a_folder"})


def _umask() -> int:
    """What the system takes away from the mode of a new file; all, where it does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0o777
    said = next((entry for entry in status.splitlines() if entry.startswith("Umask:")), "Umask: 777")
    return int(said.split()[1], 8)


def copy_files(source: Path, target: Path, paths: Iterable[str]) -> None:
    """Copies files and links, with the folders on their way. What has gone meanwhile is left out.

    Others may be at work in the source: a folder that has become a link is not gone through, since it could lead
    anywhere.

    Args:
        source: A folder, absolute and without links.
        target: A folder that nobody else knows yet.
        paths: Relative to either, without `..`.

    Raises:
        WorkspacePathError: A folder cannot be read.
        OSError: A file cannot be read or written.
    """
    umask = _umask()
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        by_folder.setdefault(folder, []).append(name)
    if len(by_folder) < _MANY_FOLDERS:
        for folder, names in by_folder.items():
            _copy_names(source, target, folder, names, umask)
        return
    with ThreadPoolExecutor(_AT_A_TIME) as threads:  # the system works for several at once, most of all on disks
        works = [threads.submit(_copy_names, source, target, *each, umask) for each in by_folder.items()]
        try:
            for work in works:
                work.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _copy_names(source: Path, target: Path, folder: str, names: Iterable[str], umask: int) -> None:
    try:
        here = open_beneath(source, folder or ".", _FOLDER)
    except WorkspacePathError as error:
        if error.fault not in _GONE:
            raise
        return
    try:
        _copy_folder(names, here, target / folder, umask)
    finally:
        os.close(here)


def _copy_folder(names: Iterable[str], here: int, target: Path, umask: int) -> None:
    target.mkdir(parents=True, exist_ok=True)
    there = os.open(target, _FOLDER | os.O_CLOEXEC)
    try:
        for name in names:
            _copy(name, here, there, umask)
    finally:
        os.close(there)


def _copy(name: str, here: int, there: int, umask: int) -> None:
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
            _copy_content(descriptor, found, name, there, umask)
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
