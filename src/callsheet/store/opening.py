"""Opening a record to read it: nothing is made, changed or kept from a writer; of a damaged one what can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from callsheet.errors import StoreError
from callsheet.store.faults import primary_code, store_error
from callsheet.store.salvage import log_beside, salvaged
from callsheet.store.schema import ForeignDatabaseError, NewerRecordError, record_version

_BUSY_S = 10.0
CHECKED_BYTES = 64 * 1024 * 1024
"""A record up to this size is looked through for damage when it is opened, some 3 ms a MiB; a larger one only as far as
it is read."""

_NO_FILES = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_BROKEN = (sqlite3.DatabaseError, UnicodeDecodeError)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR})


class RecordReading:
    """A record that is open to be read.

    Attributes:
        path: The record.
        damage: What is wrong with it, and how much of it is there; None where nothing is known to be.
    """

    def __init__(self, path: Path, *, is_checked: bool = True) -> None:
        """Opens it; `close` is the caller's to call.

        Args:
            path: The record.
            is_checked: It is looked through for damage; else only what is read is.

        Raises:
            StoreError: There is no record, or nothing of it can be read.
        """
        self.path = path
        self.damage: str | None = None
        self._connection: sqlite3.Connection | None = None
        self._is_checked = is_checked
        self._is_copy = False
        self._stamp: tuple[int, int] | None = None
        if not path.is_file():
            raise StoreError(
                f"The record {path}: there is none yet; a run makes it, --store PATH or CALLSHEET_STORE names another.",
                kind="config",
            )
        with self.told():
            try:
                self._open()
            except _BROKEN as error:
                self._make_do(error)

    def rows(self, sql: str, parameters: Sequence[str | int | None] = ()) -> list[sqlite3.Row]:
        """All rows of a query.

        Raises:
            StoreError: They cannot be read.
        """
        with self.told():
            try:
                return self._all(sql, parameters)
            except _BROKEN as error:
                if self._is_copy:
                    raise
                self._make_do(error)
                return self._all(sql, parameters)

    def found_damage(self, said: str) -> None:
        """Takes note of damage that showed in what was read."""
        self.damage = self.damage or said

    @property
    def connection(self) -> sqlite3.Connection:
        """For what is read at once; until `rows` is called."""
        assert self._connection is not None
        return self._connection

    @property
    def is_salvaged(self) -> bool:
        """Whether it is damaged, and `connection` leads to a copy of what can be read."""
        return self._is_copy

    def close(self) -> None:
        """Lets go of it; idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _all(self, sql: str, parameters: Sequence[str | int | None]) -> list[sqlite3.Row]:
        found = self.connection.execute(sql, parameters).fetchall()
        if self._stamp is None or (self._stamp == _stamp(self.path) and not log_beside(self.path).exists()):
            return found
        # Opened as one that nobody writes, and now somebody does: what was read may be of two moments.
        self.close()
        self._open()
        return self._all(sql, parameters)

    def _open(self) -> None:
        has_log = log_beside(self.path).exists()
        self._stamp = None if has_log else _stamp(self.path)
        try:
            self._connection = _connected(self.path, is_still=not has_log)
        except sqlite3.OperationalError as error:
            if not has_log or primary_code(error) not in _NO_FILES:
                raise
            self._connection = _connected(self.path, is_still=True)
            self.damage = (
                f"The last that was written to the record {self.path} lies in {log_beside(self.path).name}, which can "
                "be read only where files can be made beside it: it may be missing here."
            )
        if self._is_checked:
            _check(self._connection, self.path)

    def _make_do(self, error: sqlite3.DatabaseError | UnicodeDecodeError) -> None:
        """Goes on with what can be got out of a damaged record.

        Raises:
            sqlite3.DatabaseError, UnicodeDecodeError: It is not damaged, or nothing can.
        """
        if not _is_damage(error):
            raise error
        self.close()
        if self._stamp is not None and self._stamp != _stamp(self.path):
            self._open()  # somebody began to write it meanwhile
            return
        self._connection, counts = salvaged(self.path, error)
        self._stamp, self._is_copy = None, True
        self.damage = (
            f"The record {self.path} is damaged ({error}). What can be read of it is used: {counts['runs']:,} runs, "
            f"{counts['agent_runs']:,} agents, {counts['events']:,} events. The next run "
            "that is begun or resumed moves it aside and goes on with that."
        )

    @contextmanager
    def told(self) -> Iterator[None]:
        """Within it what goes wrong with the record is told as a `StoreError`."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, ForeignDatabaseError, NewerRecordError, OSError) as error:
            raise store_error(self.path, error) from error


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether an error says that the file is not what was written; what cannot be decoded has no code."""
    if isinstance(error, UnicodeDecodeError):
        return True
    code = primary_code(error)
    return code in _DAMAGE or (code is None and "decode" in str(error))


def _connected(path: Path, *, is_still: bool) -> sqlite3.Connection:
    """A connection that can only read.

    Even a reader of a WAL database makes files beside it, and leaves them there. Where no log lies beside the record
    nobody is writing, and it can be read as it is (`is_still`), also where nothing can be made.

    Raises:
        StoreError: It is empty.
        ForeignDatabaseError, NewerRecordError: It is not ours to read.
        sqlite3.Error: It cannot be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if is_still else ''}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA trusted_schema = OFF")
        if record_version(connection) == 0:
            raise StoreError(f"The record {path}: it is empty; the first run fills it.", kind="config")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Looks a small record through.

    Raises:
        sqlite3.DatabaseError: It is damaged.
    """
    if path.stat().st_size > CHECKED_BYTES:
        return
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        error = sqlite3.DatabaseError(str(found).replace("\n", " "))
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
