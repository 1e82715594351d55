"""What SQLite and the file system say, as errors that name the record and the remedy."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Literal

from callsheet.errors import StoreError
from callsheet.store.rows import RowFaultError
from callsheet.store.schema import ForeignDatabaseError, NewerRecordError

_ELSEWHERE = "name another place with --store PATH or CALLSHEET_STORE"
_AGAIN = "then run again or resume"

_FULL = f"the disk is full: make room, {_AGAIN}"
_LOCKED = f"another process holds it locked: end that process, {_AGAIN}"
_DAMAGED = (
    "it is damaged: move it away (the next run makes a new one); `sqlite3 FILE .recover` gets out what can be read"
)

# The machine fails: what was asked for is right, and may work another time.
_FAILURES: dict[int, str] = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR: (
        f"reading or writing failed: the disk may be full, over quota or failing; look at it, {_AGAIN}"
    ),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_TOOBIG: "one value is larger than SQLite can hold (1 GB)",
}
# The place is none for a record: another one has to be named, or this one changed.
_UNFIT: dict[int, str] = {
    sqlite3.SQLITE_READONLY: f"it is read-only: make file and folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_PERM: f"access is denied: make file and folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: f"it cannot be opened: make its folder writable, or {_ELSEWHERE}",
    sqlite3.SQLITE_NOTADB: f"it is not a record: move it away, or {_ELSEWHERE}",
    sqlite3.SQLITE_PROTOCOL: f"its file system does not keep locks: {_ELSEWHERE}",
    sqlite3.SQLITE_NOLFS: f"its file system takes no larger file: {_ELSEWHERE}",
}

_SYSTEM_FAILURES: dict[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: f"the quota is used up: make room, {_AGAIN}",
    errno.EFBIG: f"the system lets no file grow further: raise the limit (`ulimit -f`), {_AGAIN}",
    errno.EIO: f"reading or writing failed: look at the disk, {_AGAIN}",
    errno.EMFILE: f"too many files are open: raise the limit (`ulimit -n`), {_AGAIN}",
    errno.ENFILE: f"too many files are open on this machine: end some program, {_AGAIN}",
}
_SYSTEM_UNFIT: dict[int, str] = {
    errno.EACCES: f"its folder is not writable: make it writable, or {_ELSEWHERE}",
    errno.EPERM: f"its folder is not writable: make it writable, or {_ELSEWHERE}",
    errno.EROFS: f"its file system is read-only: {_ELSEWHERE}",
    errno.ENOTDIR: f"a part of its path is a file, not a folder: {_ELSEWHERE}",
    errno.EEXIST: f"a part of its path is a file, not a folder: {_ELSEWHERE}",
    errno.ENAMETOOLONG: f"its path is too long: {_ELSEWHERE}",
}


class RecordGoneError(Exception):
    """The record was moved, removed or replaced while it was open."""


def primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code, None where the error is not SQLite's own."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether the same may work a moment later, once another process has finished."""
    return primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def store_error(path: Path, error: Exception) -> StoreError:
    """The one place that turns what went wrong below into what a person is told, and whose fault it is."""
    return StoreError(f"The record {path}: {_reason(error)}.", kind=_kind(error))


def _kind(error: Exception) -> Literal["config", "internal"]:
    match error:
        case ForeignDatabaseError() | NewerRecordError():
            return "config"
        case sqlite3.Error():
            return "config" if primary_code(error) in _UNFIT else "internal"
        case OSError():
            return "config" if error.errno in _SYSTEM_UNFIT else "internal"
        case _:
            return "internal"


def _reason(error: Exception) -> str:
    match error:
        case ForeignDatabaseError():
            return f"it is not a record of Callsheet ({error.reason}): {_ELSEWHERE}"
        case NewerRecordError():
            return (
                f"a newer Callsheet wrote it (format {error.found}; this one knows {error.known}): "
                f"update Callsheet, or {_ELSEWHERE}"
            )
        case RecordGoneError():
            return (
                f"it was moved or removed while it was written (`git clean -x` does that): put it back, {_AGAIN}; "
                f"or {_ELSEWHERE}, outside the workspace"
            )
        case sqlite3.Error():
            known = (_FAILURES | _UNFIT).get(primary_code(error) or 0)
            if known is not None:
                return f"{known} (SQLite: {error})"
            return f"SQLite refused ({getattr(error, 'sqlite_errorname', type(error).__name__)}: {error})"
        case OSError():
            known = (_SYSTEM_FAILURES | _SYSTEM_UNFIT).get(error.errno or 0)
            system = os.strerror(error.errno) if error.errno else str(error)
            return f"{known} ({system})" if known is not None else f"the system says: {system}"
        case RowFaultError():
            return f"a row does not fit what is recorded, a fault of Callsheet ({error})"
        case _:
            return f"{type(error).__name__}: {error}"
