"""The record of runs in SQLite (FORMATS 4): on disk first, then seen (DESIGN 8)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from callsheet.errors import StoreError
from callsheet.model.records import Row
from callsheet.ports import Store
from callsheet.store.place import prepare_file, prepare_folder
from callsheet.store.rows import rows_bytes
from callsheet.store.schema import migrate, record_version
from callsheet.store.writer import PendingWrite, RecordWriter, StoreLimits, patiently

_WAL_LIMIT_BYTES = 16 * 1024 * 1024


class SqliteStore(Store):
    """The record of one workspace, opened for writing by `open_store`. Belongs to the event loop that opened it.

    Any number of them, in this process and others, may write to one record at a time.
    """

    def __init__(self, path: Path, *, limits: StoreLimits, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._path = path = path.absolute()
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._opened = anyio.Event()
        self._ended = anyio.Event()
        self._room_waiters: list[anyio.Event] = []
        self._is_failure_told = False
        self._writer = RecordWriter(
            path,
            connect=connect,
            limits=limits,
            on_opened=partial(self._call_in_loop, self._opened.set),
            on_settled=partial(self._call_in_loop, self._on_settled),
            on_ended=partial(self._call_in_loop, self._ended.set),
        )
        self._writer.start()

    @property
    def path(self) -> str:
        return str(self._path)

    async def opened(self) -> None:
        """Waits until the record can be written.

        Raises:
            StoreError: It cannot.
        """
        await self._opened.wait()
        self._raise_failure()

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        """See `Store.write`. A durable write of no rows waits until all rows queued before are on disk.

        Rows are queued at once, before anything is waited for; without a wait the call does not give way to others.

        Raises:
            StoreError: As the port says.
            StoreClosedError: The store was closed before.
        """
        if not rows and not durable:
            return
        waiter = anyio.Event() if durable else None
        write = PendingWrite(rows=tuple(rows), size_bytes=rows_bytes(rows), waiter=waiter)
        self._raise_failure()
        self._writer.put(write)
        if waiter is not None:
            await waiter.wait()
            if write.is_lost:
                self._raise_failure()
        elif self._writer.is_full:
            room = anyio.Event()
            self._room_waiters.append(room)
            await room.wait()
            self._raise_failure()

    async def aclose(self) -> None:
        """See `Store.aclose`. Takes at most `StoreLimits.close_s`, also when it is cancelled.

        A record in which all is written is whole, also where the disk takes longer to tidy up: the next opening does.

        Raises:
            StoreError: Rows were lost and no call has said so, or the time is over and some are not written.
        """
        self._writer.close()
        with anyio.move_on_after(self._limits.close_s, shield=True):
            await self._ended.wait()
        if not self._ended.is_set() and not self._writer.is_idle:
            raise StoreError(
                f"The record {self._path}: it could not be closed within {self._limits.close_s:g} s, and its last rows "
                "may be missing: the disk does not answer, or another process holds it locked. Look at that, then "
                "run again or resume."
            )
        if not self._is_failure_told:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._writer.has_failed:
            self._is_failure_told = True
            self._writer.check()

    def _call_in_loop(self, callback: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(callback, *args)

    def _on_settled(self, writes: Sequence[PendingWrite]) -> None:
        for write in writes:
            if write.waiter is not None:
                write.waiter.set()
        if not self._writer.is_full:
            waiters, self._room_waiters = self._room_waiters, []
            for room in waiters:
                room.set()


def connect_record(path: Path, *, busy_s: float = StoreLimits().busy_s) -> sqlite3.Connection:
    """Opens a record for writing, made or brought to the newest version where needed.

    Raises:
        StoreError: Its place is not to be trusted.
        sqlite3.Error, OSError: It cannot be opened.
        ForeignDatabaseError, NewerRecordError: It is not ours to write.
    """
    prepare_folder(path.parent)
    prepare_file(path)
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=busy_s, isolation_level=None)
    try:
        for pragma in ("trusted_schema = OFF", "synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON"):
            connection.execute(f"PRAGMA {pragma}")
        patiently(lambda: record_version(connection), within_s=busy_s)
        patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), within_s=busy_s)
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        patiently(lambda: migrate(connection), within_s=busy_s)
    except BaseException:
        connection.close()
        raise
    return connection


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    limits: StoreLimits | None = None,
    connect: Callable[[Path], sqlite3.Connection] | None = None,
) -> AsyncGenerator[SqliteStore, None]:
    """Opens the record at a path for writing, made where it is missing. Leaving the context writes all and closes.

    Args:
        path: The file; `choose_store_path` says where a workspace's lies.
        limits: What may wait.
        connect: Opens the connection, on the writer's thread; `connect_record` unless given.

    Raises:
        StoreError: It cannot be opened or, on leaving, could not be written; names the path and the remedy.
    """
    limits = limits or StoreLimits()
    store = SqliteStore(path, limits=limits, connect=connect or partial(connect_record, busy_s=limits.busy_s))
    try:
        await store.opened()
        yield store
    except BaseException:
        with contextlib.suppress(StoreError):  # what happened first is what the caller must see
            await store.aclose()
        raise
    await store.aclose()
