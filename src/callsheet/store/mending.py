"""A damaged record, replaced by what can be read of it, so that a run can go on in it (CONTRACT R06)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from callsheet.store.faults import store_error
from callsheet.store.opening import RecordReading
from callsheet.store.schema import MIGRATIONS

_BESIDE = ("", "-wal", "-shm")


def mended(path: Path, *, is_alone: Callable[[], bool]) -> str | None:
    """Puts what can be read of a damaged record in its place; the damaged one is moved aside, whole.

    Args:
        path: The record.
        is_alone: Asked where it is damaged: whether nobody else writes it, so that it may be replaced.

    Returns:
        A line on it for people; None where the record is sound, or is not replaced.

    Raises:
        StoreError: There is no record, nothing of it can be read, or it cannot be replaced.
    """
    with closing(RecordReading(path)) as reading:
        if not (reading.is_salvaged and is_alone()):
            return None
        try:
            aside = _replace(path, reading.connection)
        except (OSError, sqlite3.Error) as error:
            raise store_error(path, error) from error
        assert reading.damage is not None
        said = reading.damage.partition(" The next run")[0]
    return f"{said} The run goes on in a new one; the damaged one is kept as {aside.name}."


def _replace(path: Path, copy: sqlite3.Connection) -> Path:
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{now}-{os.urandom(2).hex()}")
    new = path.with_name(f"{path.name}.new-{os.urandom(4).hex()}")
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(new)) as connection:
            copy.backup(connection)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        for ending in _BESIDE:
            part = path.with_name(path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return aside
