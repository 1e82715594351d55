"""A session on disk: a file of JSON lines beside the record, one for each thing that happened, only ever added to.

A line is on disk when `SessionFile.append` returns. What a crash left of a last line is taken away when the session is
opened again; one process at a time has it open.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from callsheet.app import compose, places
from callsheet.app.session_model import LAST_SESSION
from callsheet.errors import NotFoundError, StoreError, UsageError
from callsheet.model.dataclass import dataclass

FOLDER = "sessions"
"""Below the state folder of the workspace."""

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_LINE_BYTES = 4 * 1024 * 1024
_PREFIX, _SUFFIX = "session_", ".jsonl"
_NAME = re.compile(r"session_[0-9A-Z]{26}")
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a session's file holds.

    Attributes:
        lines: In order.
        unreadable: How many whole lines are no JSON objects; they are passed over.
    """

    lines: tuple[dict[str, Any], ...] = ()
    unreadable: int = 0


def new_session_id() -> str:
    """A name that no other session has; names sort by time."""
    return _PREFIX + compose.new_run_id().removeprefix("run_")


def sessions_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where the sessions of a workspace lie; it is there, and the user's alone.

    Raises:
        StoreError: There is no place for it, or a link or somebody else's folder is in it.
    """
    folder = places.state_folder(root, environ) / FOLDER
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _check(folder, folder.lstat(), is_folder=True)
        folder.chmod(0o700)
    except OSError as fault:
        raise _cannot(folder, fault) from None
    return folder


def sessions_found(root: Path, environ: Mapping[str, str]) -> Path | None:
    """Where the sessions of a workspace lie, made sure of as by `sessions_folder`; None where there never was one.

    Raises:
        StoreError: As `sessions_folder`.
    """
    is_there = os.path.lexists(places.in_state(root, environ, FOLDER))
    return sessions_folder(root, environ) if is_there else None


def session_ids(folder: Path) -> tuple[str, ...]:
    """The sessions of a folder, the one that was written to last first."""
    found: list[tuple[int, str]] = []
    with suppress(OSError):
        for path in folder.iterdir():
            if path.suffix == _SUFFIX and _NAME.fullmatch(path.stem):
                with suppress(OSError):
                    found.append((path.lstat().st_mtime_ns, path.stem))
    return tuple(name for _, name in sorted(found, reverse=True))


def session_named(name: str, folder: Path | None) -> str:
    """The session that a name means: an id, the beginning of one, or `last`.

    Args:
        name: As it was said.
        folder: Where they lie; None where there never was one.

    Raises:
        NotFoundError: There is none.
        UsageError: Several begin so.
    """
    there = () if folder is None else session_ids(folder)
    if name == LAST_SESSION:
        if there:
            return there[0]
        raise NotFoundError("there is no session here to continue. callsheet begins one.", name=name)
    found = [each for each in there if each.startswith(name)] if name.startswith(_PREFIX) else []
    if name in found or len(found) == 1:
        return name if name in found else found[0]
    if found:
        names = ", ".join(found[:_MOST_NAMED])
        raise UsageError(f"{name} is the beginning of several sessions: {names}. Give more of it.")
    near = tuple(get_close_matches(name, there, n=3)) or there[:1]
    hint = f" The last one is {there[0]}." if there else " There is none here: callsheet begins one."
    raise NotFoundError(f"there is no session {name} here.{hint}", name=name, near=near)


class SessionFile:
    """The file of one session. Blocking: used from worker threads, one call at a time.

    Attributes:
        path: Where it lies, or is to lie; it is made with the first line.
    """

    def __init__(self, folder: Path, session_id: str, *, make_folder: Callable[[], Path] | None = None) -> None:
        """Makes it; nothing is opened or made yet.

        Args:
            folder: Where it lies.
            session_id: Its name.
            make_folder: Makes the folder before the first line is added, and says where it is; None where it is there.
        """
        self.path = folder / f"{session_id}{_SUFFIX}"
        self._make_folder = make_folder
        self._descriptor: int | None = None
        self._size = 0

    def read(self) -> Kept:
        """Opens a file that is there, and gives what it holds.

        Raises:
            UsageError: Another process has it open.
            StoreError: It is no file of the user's own, is too large, or cannot be read.
        """
        descriptor = self._open(os.O_RDWR)
        self._size = os.fstat(descriptor).st_size
        if self._size > MAX_FILE_BYTES:
            raise StoreError(
                f"The session {self.path} is larger than {MAX_FILE_BYTES // 1024**2} MiB: begin a new one.",
                kind="config",
            )
        try:
            data = os.pread(descriptor, self._size, 0)
            whole = data.rfind(b"\n") + 1
            if whole < len(data):  # what was being written when its process died
                os.ftruncate(descriptor, whole)
                self._size = whole
        except OSError as fault:
            raise _cannot(self.path, fault) from None
        found = list(_objects(data[:whole]))
        return Kept(lines=tuple(each for each in found if each is not None), unreadable=found.count(None))

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line: all of it is on disk when this returns, or nothing of it is there.

        Raises:
            StoreError: It is too long, the file would be, it cannot be written, or there is no place for it.
        """
        data = json.dumps(line, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
        if len(data) > MAX_LINE_BYTES:
            raise StoreError(f"The session {self.path} takes no line of {len(data):,} bytes.")
        if self._size + len(data) > MAX_FILE_BYTES:
            raise StoreError(
                f"The session {self.path} is full ({MAX_FILE_BYTES // 1024**2} MiB): leave it with /quit and begin a "
                "new one."
            )
        descriptor = self._descriptor
        if descriptor is None:
            if self._make_folder is not None:
                self.path = self._make_folder() / self.path.name
            descriptor = self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            _write_all(descriptor, data, at=self._size)
            os.fsync(descriptor)
        except OSError as fault:
            with suppress(OSError):
                os.ftruncate(descriptor, self._size)
            raise _cannot(self.path, fault) from None
        self._size += len(data)

    def close(self) -> None:
        """Lets go of it; idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, flags: int) -> int:
        try:
            descriptor = os.open(self.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            try:
                _check(self.path, os.fstat(descriptor), is_folder=False)
                os.fchmod(descriptor, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if flags & os.O_CREAT:
                    _sync_folder(self.path.parent)
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError:
            raise UsageError(
                f"the session {self.path.stem} is open elsewhere: in another terminal, perhaps. Leave it there first, "
                "or begin a new one with callsheet."
            ) from None
        except OSError as fault:
            raise _cannot(self.path, fault) from None
        self._descriptor = descriptor
        return descriptor


def _check(path: Path, found: os.stat_result, *, is_folder: bool) -> None:
    """Sees that it is what it should be, and one's own: nothing else is believed, or written to.

    Raises:
        StoreError: It is not.
    """
    right = stat.S_ISDIR if is_folder else stat.S_ISREG
    why = None
    if not right(found.st_mode):
        why = (
            "it is a symbolic link" if stat.S_ISLNK(found.st_mode) else f"it is no {'folder' if is_folder else 'file'}"
        )
    elif found.st_uid != os.geteuid():
        why = f"it belongs to another user (uid {found.st_uid})"
    elif not is_folder and found.st_nlink != 1:
        why = "it has a second name elsewhere"
    if why is not None:
        raise StoreError(f"{path} cannot be used for sessions: {why}. Move it away.", kind="config")


def _objects(data: bytes) -> Iterator[dict[str, Any] | None]:
    """The object of each line; None for one that is none."""
    for line in data.split(b"\n")[:-1]:
        try:
            value = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else None


def _write_all(descriptor: int, data: bytes, *, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot(path: Path, fault: OSError) -> StoreError:
    what = "it is a symbolic link" if path.is_symlink() else (fault.strerror or str(fault)).lower()
    return StoreError(
        f"{path} cannot be used for sessions: {what}.", kind="config" if path.is_symlink() else "internal"
    )
