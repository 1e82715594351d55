"""What is left of a damaged record: as many rows as can be read, from both ends of each table, in a copy in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

from callsheet.store.schema import MIGRATIONS

_PAGE_BYTES = 4096
_MAGIC = b"SQLite format 3\0"
_HEADER = slice(0, 100)
_PAGE_COUNT = slice(28, 32)
_JOURNAL = slice(18, 20)
_REBUILT_BYTES = 256 * 1024 * 1024
_TEXTS = frozenset({"script_text", "settings", "options", "task_description", "payload", "input"})
"""Columns that a row must have and that may be long: where one is lost it is empty, which no whole row has."""
_ROWS_IN_PARTS = 10_000
"""So many rows of a table are read in parts at most, which takes about a millisecond each."""

Broken = sqlite3.DatabaseError | UnicodeDecodeError


def log_beside(path: Path) -> Path:
    """What SQLite keeps beside a record while somebody writes it, or has died writing."""
    return path.with_name(f"{path.name}-wal")


def salvaged(path: Path, error: Broken) -> tuple[sqlite3.Connection, dict[str, int]]:
    """A copy of what can be read, and how many rows of each table that is.

    Raises:
        sqlite3.DatabaseError, UnicodeDecodeError: The error, where nothing can.
    """
    copy = _empty()
    try:
        tables = [name for (name,) in copy.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for source in (_with_log, _as_it_is, _rebuilt):
            if source is _rebuilt and any(_counts(copy, tables).values()):
                break
            with suppress(sqlite3.Error, UnicodeDecodeError, OSError), source(path) as damaged:
                damaged.text_factory = _text
                damaged.execute("PRAGMA trusted_schema = OFF")
                # Lets SQLite go on where the file is shorter than it says, or a part of the schema is not understood.
                damaged.execute("PRAGMA writable_schema = ON")
                for table in tables:
                    with suppress(sqlite3.Error, UnicodeDecodeError):
                        _copy(damaged, copy, table)
        _make_up_runs(copy)
        counts = _counts(copy, tables)
        if not counts["runs"] and not counts["agent_runs"]:
            raise error
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    copy.row_factory = sqlite3.Row
    return copy, counts


def _empty() -> sqlite3.Connection:
    """A record of the newest version with nothing in it, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in (statement for step in MIGRATIONS for statement in step):
        connection.execute(statement)
    return connection


def _counts(copy: sqlite3.Connection, tables: list[str]) -> dict[str, int]:
    return {table: int(copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables}


def _copy(damaged: sqlite3.Connection, copy: sqlite3.Connection, table: str) -> None:
    """Adds the rows of a table that are not there yet."""
    columns = copy.execute(f"PRAGMA table_info({table})").fetchall()
    known = {name for _, name, *_ in columns}
    keys = [name for _, name, _, _, _, part in columns if part]
    kinds = {kind for (kind,) in damaged.execute("SELECT type FROM sqlite_schema WHERE name = ?", (table,))}
    if kinds - {"table"}:
        return  # a view, which a record never has: it could be told to compute for ever
    if not keys and _counts(copy, [table])[table]:
        return  # without a key the same rows would come again
    for order in ("", _order(keys)) if keys else ("",):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            rows = damaged.execute(f"SELECT * FROM {table}{order}")
            names = [name for name, *_ in rows.description]
            kept = [at for at, name in enumerate(names) if name in known]
            marks = ", ".join("?" for _ in kept)
            insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names[at] for at in kept)}) VALUES ({marks})"
            for row in rows:
                with suppress(sqlite3.Error):  # a value that is none of its column
                    copy.execute(insert, [row[at] for at in kept])
            return  # all of it
    if keys:
        _copy_by_row(damaged, copy, table, keys)


def _make_up_runs(copy: sqlite3.Connection) -> None:
    """Rows for runs of which only agents are left: these can be read, and answer again once the script is named."""
    copy.execute(
        """
        INSERT INTO runs (run_id, seed, status, started_at, started_ms, version, settings, script_text)
        SELECT run_id, 0, 'running', min(timestamp_queued),
            coalesce(CAST(round((julianday(min(timestamp_queued)) - 2440587.5) * 86400000) AS INTEGER), 0), '', '{}', ''
        FROM agent_runs WHERE run_id NOT IN (SELECT run_id FROM runs) GROUP BY run_id
        """
    )


def _order(keys: Sequence[str]) -> str:
    return f" ORDER BY {', '.join(f'{name} DESC' for name in keys)}"


def _copy_by_row(damaged: sqlite3.Connection, copy: sqlite3.Connection, table: str, keys: Sequence[str]) -> None:
    """Adds rows that lie between damaged ones, and of rows whose end is lost the beginning: what is long stands last.

    Their keys can be read where the rest of them cannot.
    """
    there = {name for _, name, *_ in damaged.execute(f"PRAGMA table_info({table})")}
    columns = {
        name: (needed, otherwise) for _, name, _, needed, otherwise, _ in copy.execute(f"PRAGMA table_info({table})")
    }
    names = [name for name in columns if name in there]
    where = " AND ".join(f"{name} = ?" for name in keys)
    found: dict[tuple[object, ...], None] = {}
    for order in ("", _order(keys), " NOT INDEXED"):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            for key in damaged.execute(f"SELECT {', '.join(keys)} FROM {table}{order}"):
                found[key] = None
    lacking = (key for key in found if copy.execute(f"SELECT 1 FROM {table} WHERE {where}", key).fetchone() is None)
    for key in islice(lacking, _ROWS_IN_PARTS):
        row = _read_parts(damaged, f"FROM {table} WHERE {where}", key, names)
        for name in [name for name in names if row[name] is None and columns[name][0]]:
            if name in _TEXTS:
                row[name] = ""
            elif columns[name][1] is not None:
                del row[name]
        with suppress(sqlite3.Error):  # what no row can be without is lost
            marks = ", ".join("?" for _ in row)
            copy.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def _read_parts(
    damaged: sqlite3.Connection, source: str, key: tuple[object, ...], names: Sequence[str]
) -> dict[str, object]:
    """One row, whole or column by column; None for what cannot be read."""
    row: dict[str, object] = dict.fromkeys(names)
    for some in (names, *([name] for name in names)):
        with suppress(sqlite3.Error, UnicodeDecodeError):
            found = damaged.execute(f"SELECT {', '.join(some)} {source}", key).fetchone()
            row |= dict(zip(some, found or [None] * len(some), strict=True))
            if some is names:
                break
    return row


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


# --- where rows are read from -----------------------------------------------------------------------------------------


@contextmanager
def _with_log(path: Path) -> Iterator[sqlite3.Connection]:
    """The record with what the log beside it says.

    Raises:
        sqlite3.OperationalError: There is no log.
    """
    if not log_beside(path).exists():
        raise sqlite3.OperationalError("no log")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
        yield connection


@contextmanager
def _as_it_is(path: Path) -> Iterator[sqlite3.Connection]:
    """The record without its log."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


@contextmanager
def _rebuilt(path: Path) -> Iterator[sqlite3.Connection]:
    """The record, what lacks at its end, or its header, made up by that of an empty one.

    The last page of a new record's schema lies behind its first tables. Where that was cut off, nothing says any more
    where the tables are; they are where they are in every record that was made by this version.

    Raises:
        OSError: It cannot be read.
        sqlite3.DatabaseError: It is too large, or of another make.
    """
    if path.stat().st_size > _REBUILT_BYTES:
        raise sqlite3.DatabaseError("too large")
    with closing(_empty()) as empty:
        whole = empty.serialize()
    data = bytearray(path.read_bytes())
    data += whole[len(data) :]
    if not data.startswith(_MAGIC):
        data[_HEADER] = whole[_HEADER]
        data[_PAGE_COUNT] = (len(data) // _PAGE_BYTES).to_bytes(4, "big")
    pages = int.from_bytes(data[_PAGE_COUNT], "big")
    data += bytes(max(0, min(pages * _PAGE_BYTES, _REBUILT_BYTES) - len(data)))
    data[_JOURNAL] = b"\x01\x01"  # without a log
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(bytes(data))
        yield connection
