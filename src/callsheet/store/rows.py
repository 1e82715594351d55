"""Rows of `model.records` as SQL: one prepared statement a table, many rows a statement."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from sys import getsizeof
from typing import Any

from callsheet.model.dataclass import dataclass
from callsheet.model.records import (
    AgentRow,
    ApprovalRow,
    CancelledRow,
    CheckpointRow,
    DeliveredRow,
    EventRow,
    MessageRow,
    NestedRow,
    RefusedRow,
    ReusedRow,
    RevertedRow,
    Row,
    RunEndRow,
    RunRow,
    SpendingRow,
    TimerRow,
    ToolCallRow,
)
from callsheet.store.checksums import SqlValue, outcome_checksum, script_checksum

RUNNING = "running"
"""The status of a run that has begun and not ended."""

_ROW_BYTES = 256
_SIGN_BIT = 1 << 63
_SURROGATE = re.compile("[\ud800-\udfff]")


class RowFaultError(Exception):
    """A row that does not fit what is there: a fault of this program, not of the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """How the rows of one type are written.

    Attributes:
        values: The parameters of one row.
        texts: At least two attributes that can be large, for counting memory.
        must_match: Each row changes one that exists.
        last_only: Of rows with the same identity only the last counts.
    """

    sql: str
    values: Callable[[Any], tuple[SqlValue, ...]]
    texts: tuple[str, ...]
    must_match: bool = False
    last_only: Callable[[Any], tuple[SqlValue, ...]] | None = None


def _names(row_type: type[Row]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row_type))


def _insert(table: str, names: Sequence[str], *, values: str | None = None, upsert: str = "") -> str:
    marks = values or ", ".join("?" for _ in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks}) {upsert}"


def _upsert(key: Sequence[str], names: Iterable[str]) -> str:
    news = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {news}"


def signed_seed(seed: int) -> int:
    """A seed of 64 bits as SQLite's signed integer of 64 bits; `& (2**64 - 1)` leads back."""
    return seed - 2 * _SIGN_BIT if seed >= _SIGN_BIT else seed


def _run_statement() -> _Statement:
    names = _names(RunRow)
    rest = attrgetter(*(name for name in names if name != "seed"))
    ordered = [name for name in names if name != "seed"]
    # A resumed run is the same run: its seed and its start stay, which the script's clock was built on (R07, R08).
    kept = ("run_id", "seed", "parent_run_id", "started_at", "started_ms")
    renewed = _upsert(["run_id"], [*(name for name in names if name not in kept), "status", "checksum"])
    return _Statement(
        sql=_insert(
            "runs",
            [*ordered, "seed", "status", "checksum"],
            upsert=f"{renewed}, result = NULL, error = NULL, ended_at = NULL",
        ),
        values=lambda row: (*rest(row), signed_seed(row.seed), RUNNING, script_checksum(row)),
        texts=("script_text", "args", "settings"),
    )


def _agent_statement() -> _Statement:
    names = _names(AgentRow)
    given = {name: f"?{number}" for number, name in enumerate(names, start=1)}
    marks = ", ".join([*given.values(), f"?{len(names) + 1}", f"{given['input_tokens']} + {given['output_tokens']}"])
    columns = [*names, "checksum", "token_count"]
    plain = attrgetter(*names)
    key = ("run_id", "agent_id")
    # An agent that waits to be asked once more has not been delivered, whatever became of the attempt before.
    undelivered = ", ".join(
        f"{name} = CASE excluded.status WHEN 'queued' THEN NULL ELSE agent_runs.{name} END"
        for name in _names(DeliveredRow)
        if name not in key
    )
    return _Statement(
        sql=_insert("agent_runs", columns, values=marks, upsert=f"{_upsert(key, columns)}, {undelivered}"),
        values=lambda row: (*plain(row), outcome_checksum(row)),
        texts=("task_description", "options", "result", "files_accessed", "files_changed", "error"),
        # The last that waits counts besides: it says that the agent is undelivered.
        last_only=lambda row: (row.run_id, row.agent_id, row.status == "queued"),
    )


def _event_statement() -> _Statement:
    return _Statement(sql=_insert("events", _names(EventRow)), values=_event_values, texts=("payload", "at"))


def _event_values(row: EventRow) -> tuple[SqlValue, ...]:
    """An event without the fields that stand in columns beside it, more than half of a short one; readers add them."""
    head = f'{{"event":"{row.event}","run_id":"{row.run_id}","seq":{row.seq},"at":"{row.at}",'
    payload = "{" + row.payload[len(head) :] if row.payload.startswith(head) else row.payload
    return row.run_id, row.seq, row.at, row.event, payload


def _plain(table: str, row_type: type[Row], texts: tuple[str, ...], *, key: Sequence[str] = ()) -> _Statement:
    names = _names(row_type)
    upsert = _upsert(key, names) if key else ""
    return _Statement(sql=_insert(table, names, upsert=upsert), values=attrgetter(*names), texts=texts)


def _update(table: str, row_type: type[Row], texts: tuple[str, ...], *, key: Sequence[str]) -> _Statement:
    news = [name for name in _names(row_type) if name not in key]
    changes = ", ".join(f"{name} = ?" for name in news)
    match = " AND ".join(f"{name} = ?" for name in key)
    return _Statement(
        sql=f"UPDATE {table} SET {changes} WHERE {match}",
        values=attrgetter(*news, *key),
        texts=texts,
        must_match=True,
    )


# In the order in which they are written within a transaction: what is updated comes after what it updates.
_STATEMENTS: dict[type[Row], _Statement] = {
    RunRow: _run_statement(),
    AgentRow: _agent_statement(),
    CancelledRow: _update("agent_runs", CancelledRow, ("run_id", "error"), key=("run_id", "agent_id")),
    ReusedRow: _update("agent_runs", ReusedRow, ("label", "options"), key=("run_id", "agent_id")),
    DeliveredRow: _update("agent_runs", DeliveredRow, ("run_id", "agent_id"), key=("run_id", "agent_id")),
    EventRow: _event_statement(),
    MessageRow: _plain("agent_messages", MessageRow, ("payload", "agent_id")),
    ToolCallRow: _plain("tool_calls", ToolCallRow, ("input", "detail"), key=("run_id", "agent_id", "n")),
    TimerRow: _plain("timers", TimerRow, ("run_id", "run_id")),
    RefusedRow: _plain("refusals", RefusedRow, ("message", "value"), key=("run_id", "attempt", "call")),
    NestedRow: _plain("nested_scripts", NestedRow, ("script_text", "error"), key=("run_id", "attempt", "n")),
    CheckpointRow: _plain("checkpoints", CheckpointRow, ("commit_id", "at"), key=("run_id", "n")),
    RevertedRow: _update("agent_runs", RevertedRow, ("run_id", "agent_id"), key=("run_id", "agent_id")),
    SpendingRow: _plain("spending", SpendingRow, ("model", "agent_id"), key=("run_id", "n")),
    ApprovalRow: _plain("approvals", ApprovalRow, ("path", "decision")),
    RunEndRow: _update("runs", RunEndRow, ("result", "error"), key=("run_id",)),
}

_TEXTS: dict[type[Row], Callable[[Any], tuple[str | None, ...]]] = {
    kind: attrgetter(*statement.texts) for kind, statement in _STATEMENTS.items()
}


def rows_bytes(rows: Iterable[Row]) -> int:
    """About how much memory rows hold."""
    return sum(_ROW_BYTES + sum(map(getsizeof, _TEXTS[type(row)](row))) for row in rows)


def write_rows(connection: sqlite3.Connection, rows: Iterable[Row], *, escaped: bool = False) -> None:
    """Writes rows inside the transaction that the caller has begun, as if one by one in their order.

    Args:
        connection: Has begun a transaction.
        rows: Of any types.
        escaped: Halves of surrogate pairs, which no UTF-8 text can hold, are written as JSON escapes: in a JSON
            column that means the same value.

    Raises:
        RowFaultError: A row updates one that does not exist.
        UnicodeEncodeError: A text holds half a surrogate pair; try again with `escaped`.
        sqlite3.Error: SQLite refused.
    """
    groups: defaultdict[type[Row], list[Any]] = defaultdict(list)
    delivered: set[tuple[str, str]] = set()
    for row in rows:
        kind = type(row)
        is_resumed = kind is RunRow and RunEndRow in groups  # after its end, within one transaction
        is_anew = isinstance(row, AgentRow) and row.status == "queued" and (row.run_id, row.agent_id) in delivered
        if is_resumed or is_anew:
            _write_groups(connection, groups, escaped=escaped)
            groups.clear()
            delivered.clear()
        if isinstance(row, DeliveredRow):
            delivered.add((row.run_id, row.agent_id))
        groups[kind].append(row)
    _write_groups(connection, groups, escaped=escaped)


def _write_groups(connection: sqlite3.Connection, groups: dict[type[Row], list[Any]], *, escaped: bool) -> None:
    for kind, statement in _STATEMENTS.items():
        if kind not in groups:
            continue
        rows = groups[kind]
        if statement.last_only is not None:
            last: dict[tuple[SqlValue, ...], Any] = {}
            for row in rows:
                last.pop(statement.last_only(row), None)  # in the order of what is left
                last[statement.last_only(row)] = row
            rows = list(last.values())
        values: Iterable[tuple[SqlValue, ...]] = map(statement.values, rows)
        if escaped:
            values = map(_escaped, values)
        cursor = connection.executemany(statement.sql, values)
        if statement.must_match and cursor.rowcount != len(rows):
            raise RowFaultError(f"{kind.__name__}: {len(rows) - cursor.rowcount} of {len(rows)} update nothing")


def _escaped(values: tuple[SqlValue, ...]) -> tuple[SqlValue, ...]:
    return tuple(_SURROGATE.sub(_escape, value) if isinstance(value, str) else value for value in values)


def _escape(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"
