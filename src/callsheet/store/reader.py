"""The read side of the record: what was run, by anybody, while it runs or afterwards. Changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from callsheet.model.dataclass import dataclass
from callsheet.model.records import (
    AgentRow,
    DeliveredRow,
    MessageRow,
    RunEndRow,
    RunRow,
    TimerRow,
    ToolCallRow,
)
from callsheet.model.values import JsonValue
from callsheet.store.checksums import is_script_altered
from callsheet.store.opening import RecordReading
from callsheet.store.rows import RUNNING

SEED_MASK = 2**64 - 1

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line of a list of runs.

    Attributes:
        status: A `RunStatus`, or `running` for a run that has not ended (or whose host died).
        agents: How many agents it has had so far.
    """

    run_id: str
    workflow: str | None
    script_path: str | None
    parent_run_id: str | None
    status: str
    started_at: str
    ended_at: str | None
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as recorded; `end` is None while it has not ended.

    Attributes:
        is_altered: Its script or its arguments are not what was written, or the script is lost.
    """

    run: RunRow
    end: RunEndRow | None
    is_altered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """An agent as recorded; `delivered` is None while the script has not been handed its outcome."""

    agent: AgentRow
    delivered: DeliveredRow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event as recorded; `payload` is the whole public object (FORMATS 3)."""

    seq: int
    at: str
    event: str
    payload: dict[str, JsonValue]


def list_runs(path: Path, *, limit: int = -1) -> tuple[RunSummary, ...]:
    """The runs of a record, newest first.

    Args:
        path: The record.
        limit: At most so many; negative for all.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    names = [field.name for field in fields(RunSummary) if field.name != "agents"]
    sql = (
        f"SELECT {', '.join(names)}, (SELECT count(*) FROM agent_runs WHERE agent_runs.run_id = runs.run_id) AS agents"
        " FROM runs ORDER BY started_ms DESC, run_id DESC LIMIT ?"
    )
    with open_reading(path) as connection:
        return _select(connection, RunSummary, sql, (limit,))


def unfinished_runs(path: Path, *, since: str, limit: int = 20) -> tuple[RunSummary, ...]:
    """Runs that were interrupted, or whose end is not on record (they may still go on), newest first. Checks nothing.

    Args:
        path: The record.
        since: Only those that began later, as ISO 8601.
        limit: At most so many.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    names = [field.name for field in fields(RunSummary) if field.name != "agents"]
    sql = (
        f"SELECT {', '.join(names)}, 0 AS agents FROM runs WHERE status IN (?, 'interrupted') AND started_at > ?"
        " ORDER BY started_ms DESC, run_id DESC LIMIT ?"
    )
    with open_reading(path, is_checked=False) as connection:
        return _select(connection, RunSummary, sql, (RUNNING, since, limit))


def read_run(path: Path, run_id: str) -> RunRecord | None:
    """One run, None where the record has none of that id.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    with open_reading(path) as connection:
        found = connection.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if found is None:
            return None
        return run_record(found)


def read_agents(path: Path, run_id: str) -> tuple[AgentRecord, ...]:
    """The agents of a run, in order of their calls.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    with open_reading(path) as connection:
        found = connection.execute("SELECT * FROM agent_runs WHERE run_id = ? ORDER BY call, agent_id", (run_id,))
        return tuple(map(agent_record, found))


def read_last_seq(path: Path, run_id: str) -> int:
    """The number of a run's last event; 0 where there is none.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    with open_reading(path) as connection:
        (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM events WHERE run_id = ?", (run_id,)).fetchone()
        return int(seq)


def read_events(path: Path, run_id: str, *, after: int = 0, limit: int = -1) -> tuple[EventRecord, ...]:
    """Events of a run in order.

    Args:
        path: The record.
        run_id: The run.
        after: Only those with a greater `seq`, for following a run.
        limit: At most so many; negative for all.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    sql = "SELECT * FROM events WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?"
    with open_reading(path) as connection:
        rows = connection.execute(sql, (run_id, after, limit))
        return tuple(event for row in rows if (event := event_record(row)) is not None)


def read_messages(path: Path, run_id: str, agent_id: str) -> tuple[MessageRow, ...]:
    """The conversation of an agent in order.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    sql = "SELECT * FROM agent_messages WHERE run_id = ? AND agent_id = ? ORDER BY n"
    with open_reading(path) as connection:
        return _select(connection, MessageRow, sql, (run_id, agent_id))


def read_tool_calls(path: Path, run_id: str, agent_id: str) -> tuple[ToolCallRow, ...]:
    """The tool calls of an agent in order; those that were cut off still say `intent` (CONTRACT R01).

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    sql = "SELECT * FROM tool_calls WHERE run_id = ? AND agent_id = ? ORDER BY n"
    with open_reading(path) as connection:
        return _select(connection, ToolCallRow, sql, (run_id, agent_id))


def read_timers(path: Path, run_id: str) -> tuple[TimerRow, ...]:
    """The timers of a run that fired, in order of their numbers.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    with open_reading(path) as connection:
        return _select(connection, TimerRow, "SELECT * FROM timers WHERE run_id = ? ORDER BY n", (run_id,))


@contextmanager
def open_reading(path: Path, *, is_checked: bool = True) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, its errors turned into ours; of a damaged record to what can be read of it.

    Args:
        path: The record.
        is_checked: It is looked through for damage first; else what is read of a damaged one may fail.
    """
    with closing(RecordReading(path, is_checked=is_checked)) as reading, reading.told():
        yield reading.connection


def run_record(row: Any) -> RunRecord:
    """A run, from its row."""
    run: RunRow = _record(RunRow, dict(row) | {"seed": row["seed"] & SEED_MASK})
    end = None if row["status"] == RUNNING else _record(RunEndRow, row)
    return RunRecord(run=run, end=end, is_altered=not run.script_text or is_script_altered(row))


def agent_record(row: Any) -> AgentRecord:
    """An agent, from its row."""
    delivered = None if row["delivered_seq"] is None else _record(DeliveredRow, row)
    return AgentRecord(agent=_record(AgentRow, row), delivered=delivered)


def event_record(row: Any) -> EventRecord | None:
    """An event, from its row; None where that is damaged."""
    # The record keeps these four in columns only.
    head = {name: row[name] for name in ("event", "run_id", "seq", "at")}
    try:
        return EventRecord(seq=row["seq"], at=row["at"], event=row["event"], payload=head | json.loads(row["payload"]))
    except (ValueError, TypeError):
        return None


def records(record_type: type[RowT], rows: Iterable[Any]) -> tuple[RowT, ...]:
    """Rows as records of a type, column by column."""
    return tuple(_record(record_type, row) for row in rows)


def _select(
    connection: sqlite3.Connection, record_type: type[RowT], sql: str, parameters: Sequence[str | int]
) -> tuple[RowT, ...]:
    return records(record_type, connection.execute(sql, parameters))


def _record(record_type: type[RowT], row: Any) -> RowT:
    # A record that only an older version has written has fewer columns; what it says by that is the field's default.
    there_are = set(row.keys())
    names = (field.name for field in fields(record_type))  # type: ignore[arg-type]
    return record_type(**{name: row[name] for name in names if name in there_are})
