"""Small files of the user's own in which decisions are kept: private, replaced whole, one writer at a time."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callsheet.errors import ConfigError
from callsheet.model.values import JsonValue

MAX_BYTES = 4 * 1024 * 1024
_LOCK_TRIES, _LOCK_S = 250, 0.02


def read_own(path: Path) -> JsonValue:
    """What a file keeps; None where there is none.

    Raises:
        ConfigError: It cannot be read, is not private, or not ours: nothing in it is believed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(path, os.strerror(error.errno or 0).lower()) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0):
            raise _unusable(path, "it is no file of yours")
        if found.st_mode & 0o022:
            raise _unusable(path, "others may write it (chmod 600)")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _unusable(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        value: JsonValue = json.loads(data)
    except (ValueError, RecursionError):
        raise _unusable(path, "it is not JSON") from None
    return value


@contextmanager
def writing_own(path: Path) -> Iterator[None]:
    """Holds the file for one who reads it, changes what it keeps and writes it. Waits at most 5 s for another writer.

    Raises:
        ConfigError: The folder cannot be written, or another process holds it and does not go on.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise _unusable(path, os.strerror(error.errno or 0).lower()) from None
    try:
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_S)
        else:
            raise _unusable(path, "another process is writing it and does not go on")
        yield
    finally:
        os.close(lock)


def write_own(path: Path, value: JsonValue) -> None:
    """Replaces what a file keeps: all of it or nothing. Within `writing_own` only.

    Raises:
        ConfigError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file, indent=2, ensure_ascii=True)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unusable(path, os.strerror(error.errno or 0).lower()) from None


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(f"{path} cannot be used: {why}. Mend or remove it.")
