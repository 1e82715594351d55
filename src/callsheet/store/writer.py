"""The one writer: a thread that owns the connection and commits what arrives together in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from callsheet.errors import StoreClosedError, StoreError
from callsheet.model.dataclass import dataclass
from callsheet.model.records import Row
from callsheet.store.faults import RecordGoneError, is_busy, store_error
from callsheet.store.rows import RowFaultError, write_rows
from callsheet.store.schema import ForeignDatabaseError, NewerRecordError

_RETRY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """What a store may wait for and hold.

    Attributes:
        queue_rows, queue_bytes: What may wait in memory to be written; beyond it `write` waits (CONTRACT L03).
        linger_s: How long rows that nobody waits for may lie before they are written.
        busy_s: How long another process may hold the record locked.
        close_s: How long closing may take, the last writing included.
    """

    queue_rows: int = 10_000
    queue_bytes: int = 16 * 1024 * 1024
    linger_s: float = 0.05
    busy_s: float = 20.0
    close_s: float = 5.0


@dataclass(slots=True, eq=False, kw_only=True)
class PendingWrite:
    """The rows of one `write` on their way to the disk.

    Attributes:
        waiter: Whom to wake when the rows are on disk or lost; None where nobody waits for that.
        is_lost: Set by the writer: the rows are not on disk and never will be.
    """

    rows: Sequence[Row]
    size_bytes: int
    waiter: anyio.Event | None = None
    is_lost: bool = False


class RecordWriter:
    """Takes writes from one thread, commits them on another, in order, all or none of each.

    Args:
        path: For messages.
        connect: Opens the record, brought to its newest version; called on the writer's thread.
        limits: What may wait.
        on_opened: Called on the writer's thread once the record is open, or cannot be (`has_failed` then holds).
        on_settled: Called on the writer's thread with the writes that are now on disk or lost.
        on_ended: Called on the writer's thread last of all.
    """

    def __init__(
        self,
        path: Path,
        *,
        connect: Callable[[Path], sqlite3.Connection],
        limits: StoreLimits,
        on_opened: Callable[[], None],
        on_settled: Callable[[Sequence[PendingWrite]], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._path = path
        self._connect = connect
        self._limits = limits
        self._on_opened = on_opened
        self._on_settled = on_settled
        self._on_ended = on_ended
        # Guards all below. The thread is woken only for a reason: a first row while it is asleep, somebody who waits
        # for the disk, a full queue, the end. Waking it for each row would cost more than writing the row.
        self._changed = threading.Condition(threading.Lock())
        self._queue: list[PendingWrite] = []
        self._is_asleep = False
        self._is_urgent = False
        self._is_closing = False
        self._rows_held = 0
        self._bytes_held = 0
        self._failure: StoreError | None = None
        self._identity: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._work, name=f"record {path.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread, which opens the record."""
        self._thread.start()

    def put(self, write: PendingWrite) -> None:
        """Queues a write, however full the queue is: who is to wait looks at `is_full` afterwards.

        Raises:
            StoreError: An earlier write failed.
            StoreClosedError: After `close`.
        """
        with self._changed:
            self.check()
            if self._is_closing:
                raise StoreClosedError(f"The record {self._path} was closed before this write.")
            self._queue.append(write)
            self._rows_held += len(write.rows)
            self._bytes_held += write.size_bytes
            if write.waiter is not None or self.is_full:
                if not self._is_urgent:
                    self._is_urgent = True
                    self._changed.notify()
            elif self._is_asleep:
                self._is_asleep = False
                self._changed.notify()

    def check(self) -> None:
        """Raises what broke the record, each time anew.

        Raises:
            StoreError: A write failed, or the record could not be opened.
        """
        if self._failure is not None:
            raise StoreError(self._failure.message, kind=self._failure.kind) from self._failure

    @property
    def has_failed(self) -> bool:
        """Whether the record is broken: nothing is written any more."""
        return self._failure is not None

    @property
    def is_full(self) -> bool:
        """Whether more is held than may be, what is being committed included."""
        return self._rows_held > self._limits.queue_rows or self._bytes_held > self._limits.queue_bytes

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be written or is being written."""
        with self._changed:
            return self._rows_held == 0

    def close(self) -> None:
        """Lets the thread write what is queued and end. Returns at once; idempotent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    def _work(self) -> None:
        connection = self._open()
        self._on_opened()
        try:
            if connection is not None:
                self._serve(connection)
        finally:
            with self._changed:
                self._is_closing = True
            while rest := self._take():
                self._settle(rest, on_disk=False)
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):  # all is committed; the next opening does what is left
                    connection.close()
            self._on_ended()

    def _open(self) -> sqlite3.Connection | None:
        try:
            connection = self._connect(self._path)
            self._identity = file_identity(self._path)
            return connection
        except (StoreError, sqlite3.Error, OSError, ForeignDatabaseError, NewerRecordError) as error:
            self._fail(error)
        return None

    def _serve(self, connection: sqlite3.Connection) -> None:
        while taken := self._take():
            on_disk = False
            try:
                if self._failure is None:
                    self._commit(connection, taken)
                    on_disk = True
            except (sqlite3.Error, OSError, RecordGoneError, RowFaultError, OverflowError) as error:
                self._fail(error)
                with contextlib.suppress(sqlite3.Error):
                    connection.rollback()
            finally:
                self._settle(taken, on_disk=on_disk)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, StoreError):
            self._failure = error
        else:
            self._failure = store_error(self._path, error)
            self._failure.__cause__ = error

    def _settle(self, writes: Sequence[PendingWrite], *, on_disk: bool) -> None:
        if not on_disk and self._failure is None:
            self._failure = StoreError(f"The record {self._path}: its writer broke down, a fault of Callsheet.")
        with self._changed:
            for write in writes:
                write.is_lost = not on_disk
                self._rows_held -= len(write.rows)
                self._bytes_held -= write.size_bytes
        self._on_settled(writes)

    def _take(self) -> Sequence[PendingWrite]:
        """All that is queued, once somebody waits for it or it has lain long enough; empty at the end."""
        with self._changed:
            self._linger()
            while not (self._queue or self._is_closing):
                self._is_asleep = True
                self._changed.wait()
                self._is_asleep = False
                self._linger()
            taken, self._queue = self._queue, []
            self._is_urgent = False
            return taken

    def _linger(self) -> None:
        """Lets rows gather, as long as nobody waits for them. Whoever finds none after it may sleep."""
        self._changed.wait_for(lambda: self._is_urgent or self._is_closing, timeout=self._limits.linger_s)

    def _commit(self, connection: sqlite3.Connection, writes: Sequence[PendingWrite]) -> None:
        self._begin(connection)
        try:
            write_rows(connection, (row for write in writes for row in write.rows))
        except UnicodeEncodeError:
            connection.execute("ROLLBACK")
            self._begin(connection)
            write_rows(connection, (row for write in writes for row in write.rows), escaped=True)
        connection.execute("COMMIT")

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Takes the write lock. All waiting for other processes happens here, where nothing is half done."""
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"), within_s=self._limits.busy_s)
        # SQLite would go on in a file that nobody can find again.
        if file_identity(self._path) != self._identity:
            raise RecordGoneError


def file_identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; None where there is none.

    Raises:
        OSError: Its folder cannot be looked into.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def patiently(action: Callable[[], object], *, within_s: float) -> None:
    """Does something again while another process holds the record locked.

    SQLite's own busy handler does most of the waiting; it is not asked in some cases, recovery after a crash among
    them.

    Raises:
        sqlite3.Error: As `action`; also busy, when the time is over.
    """
    deadline = time.monotonic() + within_s
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY_S)
