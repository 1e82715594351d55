"""Which runs are alive: each has a file that names its process for good, and is locked for as long as that lives.

Unlike a lease it keeps nobody out: also runs that change nothing in the workspace have one, so that whoever reads the
record can tell a run that goes on from one whose process died.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from callsheet.errors import LeaseHeldError
from callsheet.workspace.lease import Holder, is_alive, this_process

FOLDER = "runs"
_ENDING = ".run"
_FILE_BYTES = 4096
_MOST_FILES = 1000
_STALE_S = 7 * 24 * 3600.0
"""Of a run on another machine, which cannot be looked at from here."""


@contextmanager
def present(state_folder: Path, run_id: str) -> Iterator[None]:
    """Shows a run as alive until the context is left, or the process ends, however it does.

    Raises:
        LeaseHeldError: That run is alive already.
        OSError: The folder cannot be written.
    """
    folder = state_folder / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _tidy(folder)
    path = folder / f"{run_id}{_ENDING}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{run_id} is still going on, in another process: wait for its end, or stop it there."
            raise LeaseHeldError(message, holders=(run_id,)) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(asdict(this_process(run_id, "shared"))).encode("utf-8"))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def living(state_folder: Path) -> frozenset[str]:
    """The runs that are alive, found by reading alone: nothing is made, locked or taken away."""
    folder = state_folder / FOLDER
    return frozenset(path.stem for path in _files(folder) if _is_alive(path))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_ENDING}"))[:_MOST_FILES]


def _tidy(folder: Path) -> None:
    """Takes away what dead runs left."""
    for path in _files(folder):
        if not _is_alive(path):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _is_alive(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        holder = _holder(os.pread(descriptor, _FILE_BYTES, 0))
        age_s = time.time() - os.fstat(descriptor).st_mtime
        if holder is None:
            return age_s < 1.0  # it is being made
        if holder.host != socket.gethostname():
            return age_s < _STALE_S
        return is_alive(holder) if holder.boot_id else _is_locked(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Where the system does not say when a process started: whether it holds its lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _holder(text: bytes) -> Holder | None:
    try:
        said = json.loads(text)
        return Holder(**said) if all(isinstance(value, str | int) for value in said.values()) else None
    except (ValueError, TypeError, AttributeError):
        return None
