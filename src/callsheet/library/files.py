"""Reads files that anyone may have put there: never more than a limit, never a pipe or a device that would block."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableError(Exception):
    """A file cannot be read.

    Attributes:
        reason: In words that follow the file's name: `is a directory`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_bytes(path: Path, *, limit_bytes: int) -> bytes:
    """The bytes of a regular file, links followed. Returns at once whatever the path leads to.

    Raises:
        UnreadableError: It does not exist, is something else than a file, is larger than the limit, or is not ours to
            read.
    """
    data = read_start(path, limit_bytes=limit_bytes)
    if len(data) > limit_bytes:
        raise UnreadableError(f"is larger than {_amount(limit_bytes)}")
    return data


def read_start(path: Path, *, limit_bytes: int) -> bytes:
    """As `read_bytes`, but of a file that is too large the first `limit_bytes + 1` bytes.

    Raises:
        UnreadableError: It does not exist, is something else than a file, or is not ours to read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise UnreadableError(_reason(error)) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableError("is a directory")
        if not stat.S_ISREG(mode):
            raise UnreadableError("is not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit_bytes + 1)
    except OSError as error:
        raise UnreadableError(_reason(error)) from None
    finally:
        os.close(descriptor)


def read_text(path: Path, *, limit_bytes: int) -> str:
    """The text of a regular UTF-8 file, without a byte-order mark.

    Raises:
        UnreadableError: As `read_bytes`; or it is not UTF-8.
    """
    data = read_bytes(path, limit_bytes=limit_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"is not UTF-8: byte {data[error.start]:#04x} in line {line}") from None


def _reason(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return "does not exist"
        case PermissionError():
            return "may not be read by this user"
        case NotADirectoryError():
            return "does not exist: a part of its path is a file"
        case OSError():
            return f"cannot be read: {os.strerror(error.errno or 0).lower()}"
        case ValueError():
            return "is no path: it holds a NUL character"


def _amount(size_bytes: int) -> str:
    return f"{size_bytes // 1024**2} MiB" if size_bytes >= 1024**2 else f"{size_bytes // 1024} KiB"
