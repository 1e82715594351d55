"""A run from the file that an export has written, as a record of its own for as long as it is read."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from callsheet.errors import UsageError
from callsheet.store.schema import migrate

FORMAT = "callsheet.run"
MOST_BYTES = 512 * 1024 * 1024

_JSON_OF_RUN = ("args", "settings", "result", "error")
_AGENT_COLUMNS = {
    "timestamp_queued": "queued_at",
    "timestamp_start": "started_at",
    "timestamp_end": "ended_at",
    "task_description": "prompt",
    "files_accessed": "files_read",
}
_JSON_OF_AGENT = ("tools_called", "files_accessed", "files_changed", "options", "details", "result")
_MAY_LACK = ("details", "result")


@contextmanager
def imported(file: Path) -> Iterator[tuple[Path, str]]:
    """A record with the one run of an exported file, and the run's id; it is gone afterwards.

    Conversations and payments are left out.

    Raises:
        UsageError: The file cannot be read, or is no exported run.
    """
    said = _read(file)
    with tempfile.TemporaryDirectory(prefix="callsheet-") as folder:
        path = Path(folder) / "callsheet.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            migrate(connection)
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            try:
                run_id = _fill(connection, said)
            except (sqlite3.Error, KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
                raise UsageError(f"{file} cannot be taken for a run ({type(fault).__name__}: {fault}).") from None
            connection.execute("COMMIT")
        yield path, run_id


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} is larger than {MOST_BYTES // 2**20} MiB. Name the record itself: --store PATH.")
        said = json.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise UsageError(f"{file} cannot be read: {fault.strerror}.") from None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise UsageError(f"{file} is no run: callsheet export RUN writes one.")
    return said


def _fill(connection: sqlite3.Connection, said: Mapping[str, Any]) -> str:
    run = {**said["run"], "seed": int(said["run"]["seed"])}
    for name in _JSON_OF_RUN:
        run[name] = None if run[name] is None else json.dumps(run[name])
    _insert(connection, "runs", run)
    run_id = str(run["run_id"])
    for agent in said["agents"]:
        _insert(connection, "agent_runs", _agent_row(run_id, agent))
    for event in said["events"]:
        rest = {name: value for name, value in event.items() if name not in ("run_id", "seq", "at", "event")}
        row = {name: event[name] for name in ("run_id", "seq", "at", "event")}
        _insert(connection, "events", {**row, "payload": json.dumps(rest)})
    for table in ("timers", "refusals", "nested_scripts"):
        for row in said.get(table, ()):
            _insert(connection, table, row)
    return run_id


def _agent_row(run_id: str, agent: Mapping[str, Any]) -> dict[str, Any]:
    usage = agent["usage"]
    row = {**agent, **usage, "run_id": run_id, "token_count": usage["input_tokens"] + usage["output_tokens"]}
    row |= {column: agent.get(name) for column, name in _AGENT_COLUMNS.items()}
    for name in _JSON_OF_AGENT:
        is_there = name not in _MAY_LACK or row.get(name) is not None or (name == "result" and row["status"] == "ok")
        row[name] = json.dumps(row.get(name)) if is_there else None
    return row


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """Writes what a row says for the columns that there are; all else of it is passed over."""
    columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name in row]
    marks = ", ".join("?" for _ in columns)
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    connection.execute(sql, [row[name] for name in columns])
