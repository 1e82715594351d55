"""Taking runs, and conversations, out of a record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from callsheet.store.faults import store_error
from callsheet.store.schema import ForeignDatabaseError, NewerRecordError
from callsheet.store.sqlite import connect_record
from callsheet.store.writer import patiently

_BUSY_S = 20.0
_LARGE = {
    "runs": ("script_text", "args", "result", "settings"),
    "agent_runs": ("task_description", "options", "result", "files_accessed", "files_changed", "error", "label"),
    "events": ("payload",),
    "agent_messages": ("payload",),
    "tool_calls": ("input", "detail"),
}
ROW_BYTES = 120
"""What a row takes besides its texts, about."""


def size_query(table: str) -> str:
    """SQL for about how many bytes the rows of each run take in a table."""
    texts = " + ".join(f"coalesce(length(CAST({name} AS BLOB)), 0)" for name in _LARGE[table])
    return f"SELECT run_id, sum({ROW_BYTES} + {texts}) AS bytes FROM {table} GROUP BY run_id"


SIZED = tuple(_LARGE)
"""The tables whose rows count for the size of a run."""


def delete_runs(path: Path, runs: Sequence[tuple[str, str]]) -> None:
    """Takes runs out, all of each or nothing; one whose status is another by now stays.

    Args:
        path: The record.
        runs: Id and status of each.

    Raises:
        StoreError: The record cannot be written.
    """

    def delete(connection: sqlite3.Connection) -> None:
        still = "SELECT 1 FROM runs WHERE run_id = ? AND status = ?"
        going = [(run_id,) for run_id, status in runs if connection.execute(still, (run_id, status)).fetchone()]
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            columns = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
            if "run_id" in columns:
                connection.executemany(f"DELETE FROM {table} WHERE run_id = ?", going)

    _change(path, delete)


def delete_conversations(path: Path, run_ids: Sequence[str]) -> None:
    """Takes the conversations of runs out; all else of them stays.

    Raises:
        StoreError: The record cannot be written.
    """

    def delete(connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM agent_messages WHERE run_id = ?", [(run_id,) for run_id in run_ids])

    _change(path, delete)


def give_back(path: Path) -> None:
    """Gives the room of what was taken out back to the file system: the record is written anew.

    Not while somebody writes it: then the room stays in the record, for the next runs.

    Raises:
        StoreError: The record cannot be written.
    """
    _change(path, lambda connection: None, then="VACUUM")


def _change(path: Path, change: Callable[[sqlite3.Connection], None], *, then: str | None = None) -> None:
    try:
        with closing(connect_record(path, busy_s=_BUSY_S)) as connection:
            # What is taken out is not only forgotten: its bytes are overwritten.
            connection.execute("PRAGMA secure_delete = ON")
            patiently(lambda: connection.execute("BEGIN IMMEDIATE"), within_s=_BUSY_S)
            try:
                change(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            if then is not None:
                connection.execute(then)
    except (sqlite3.Error, OSError, ForeignDatabaseError, NewerRecordError) as error:
        raise store_error(path, error) from error
