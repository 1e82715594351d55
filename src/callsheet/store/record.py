"""A record as those read it who show runs: lists that stay light, one run whole, events as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from callsheet.model.dataclass import dataclass
from callsheet.model.records import MessageRow, TimerRow, ToolCallRow
from callsheet.model.values import JsonValue
from callsheet.store.checksums import (
    altered_line,
    is_outcome_altered,
    outcome_columns,
    script_line,
)
from callsheet.store.opening import RecordReading
from callsheet.store.reader import AgentRecord, EventRecord, RunRecord, agent_record, event_record, records, run_record
from callsheet.store.spending import Payment, payments_of

T = TypeVar("T")


class Hiding(Protocol):
    """Takes out what nobody is to be shown: `callsheet.permissions.redact.Redactor` does."""

    def text(self, text: str, /) -> str:
        """A text without it."""

    def json(self, value: JsonValue, /) -> JsonValue:
        """A copy of a value without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run in a list.

    Attributes:
        status: As recorded: a `RunStatus`, or `running` for a run that has not ended, or whose host died.
        agents: How many it has had so far; `unpriced` of them used something whose price is not known.
        cost_usd: What is known of its cost.
        last_at: Of its last event; None where it has none.
    """

    run_id: str
    workflow: str | None
    script_path: str | None
    parent_run_id: str | None
    status: str
    started_at: str
    ended_at: str | None
    last_at: str | None
    agents: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float
    unpriced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLine:
    """One call in a list: all that is small of an agent.

    Attributes:
        status: An `AgentStatus`, `queued` or `running`.
        delivered_seq: The place of its outcome among all that was handed to the script; None where it was not.
        options: As given, JSON.
        files_changed: JSON.
    """

    agent_id: str
    call: int
    label: str
    phase: str | None
    workflow: str | None
    status: str
    backend: str
    model: str | None
    mode: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float | None
    timestamp_queued: str
    timestamp_start: str | None
    timestamp_end: str | None
    delivered_seq: int | None
    files_accessed: str
    files_changed: str
    tools_called: str
    error: str | None
    options: str


_RUN_COLUMNS = ("run_id", "workflow", "script_path", "parent_run_id", "status", "started_at", "ended_at")
_SUMS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_RUNS = f"""
    SELECT {", ".join(f"chosen.{name}" for name in _RUN_COLUMNS)},
        (SELECT at FROM events WHERE events.run_id = chosen.run_id ORDER BY seq DESC LIMIT 1) AS last_at,
        count(agent_id) AS agents,
        {", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in _SUMS)},
        coalesce(sum(cost_usd), 0.0) AS cost_usd,
        coalesce(sum(cost_usd IS NULL AND attempts > 0), 0) AS unpriced
    FROM (
        SELECT {", ".join(_RUN_COLUMNS)}, started_ms FROM runs WHERE run_id LIKE ?1 ESCAPE '!'
        AND (?3 IS NULL OR (started_ms, run_id) < (SELECT started_ms, run_id FROM runs WHERE run_id = ?3))
        ORDER BY started_ms DESC, run_id DESC LIMIT ?2
    ) AS chosen
    LEFT JOIN agent_runs ON agent_runs.run_id = chosen.run_id
    GROUP BY chosen.run_id
    ORDER BY chosen.started_ms DESC, chosen.run_id DESC
"""


class Record:
    """A record, open to be read.

    Attributes:
        path: Where it lies.
    """

    def __init__(self, reading: RecordReading, hiding: Hiding | None = None) -> None:
        self._reading = reading
        self._hiding = hiding
        self.path = reading.path

    @property
    def damage(self) -> str | None:
        """What is wrong with it; None where nothing is known to be. May become known while it is read."""
        return self._reading.damage

    def runs(self, *, prefix: str = "", limit: int = -1, before: str | None = None) -> tuple[RunLine, ...]:
        """Runs, newest first.

        Args:
            prefix: Only those whose id begins so.
            limit: At most so many; negative for all.
            before: Only those that come after this one in the list: its id.
        """
        rows = self._reading.rows(_RUNS, (_beginning(prefix), limit, before))
        return self.shown(records(RunLine, rows))

    def run(self, run_id: str) -> RunRecord | None:
        """One run; None where the record has none of that id. What of it was altered on the disk is damage."""
        found = self._reading.rows("SELECT * FROM runs WHERE run_id = ?", (run_id,))
        if not found:
            return None
        run = run_record(found[0])
        if run.is_altered:
            self._reading.found_damage(script_line(self.path, run_id))
        if altered := self._altered(run_id):
            self._reading.found_damage(altered_line(self.path, altered))
        return self.shown(run)

    def _altered(self, run_id: str) -> tuple[str, ...]:
        """The agents of a run whose outcomes are other than what was written."""
        if not self._reading.rows("SELECT 1 FROM pragma_table_info('agent_runs') WHERE name = 'checksum'"):
            return ()
        sql = f"SELECT {outcome_columns()} FROM agent_runs WHERE run_id = ? ORDER BY call, agent_id"
        return tuple(row["agent_id"] for row in self._reading.rows(sql, (run_id,)) if is_outcome_altered(row))

    def last_run(self, workspace: str) -> str | None:
        """The name of the newest run of a workspace, where the record says whose they are; None where it has none."""
        is_said = self._reading.rows("SELECT 1 FROM pragma_table_info('runs') WHERE name = 'workspace'")
        within = "workspace = ?1 OR substr(workspace, 1, length(?1) + 1) = ?1 || '/'"  # a worktree lies below
        whose = f"workspace IS NULL OR {within}" if is_said else "?1 = ?1"
        sql = f"SELECT run_id FROM runs ORDER BY {whose} DESC, started_ms DESC, run_id DESC LIMIT 1"
        found = self._reading.rows(sql, (workspace,))
        return str(found[0]["run_id"]) if found else None

    def calls(self, run_id: str) -> tuple[CallLine, ...]:
        """The calls of a run in their order, without prompts and answers."""
        names = ", ".join(field.name for field in fields(CallLine))
        sql = f"SELECT {names} FROM agent_runs WHERE run_id = ? ORDER BY call, agent_id"
        return self.shown(records(CallLine, self._reading.rows(sql, (run_id,))))

    def applied(self, run_id: str) -> dict[str, str]:
        """When the worktrees of agents were merged after the run, by agent; ISO 8601 UTC."""
        if not self._reading.rows("SELECT 1 FROM pragma_table_info('agent_runs') WHERE name = 'details'", ()):
            return {}
        sql = """SELECT agent_id, details FROM agent_runs WHERE run_id = ? AND details LIKE '%"applied":%'"""
        found: dict[str, str] = {}
        for row in self._reading.rows(sql, (run_id,)):
            with suppress(ValueError, TypeError, KeyError):
                found[row["agent_id"]] = str(json.loads(row["details"])["applied"])
        return found

    def agent(self, run_id: str, agent_id: str) -> AgentRecord | None:
        """One agent with its prompt and answer; None where there is none."""
        sql = "SELECT * FROM agent_runs WHERE run_id = ? AND agent_id = ?"
        found = self._reading.rows(sql, (run_id, agent_id))
        return self.shown(agent_record(found[0])) if found else None

    def messages(self, run_id: str, agent_id: str) -> tuple[MessageRow, ...]:
        """The conversation of an agent in order."""
        sql = "SELECT * FROM agent_messages WHERE run_id = ? AND agent_id = ? ORDER BY n"
        return self.shown(records(MessageRow, self._reading.rows(sql, (run_id, agent_id))))

    def tool_calls(
        self, run_id: str, agent_id: str | None = None, *, tools: Sequence[str] = ()
    ) -> tuple[ToolCallRow, ...]:
        """Tool calls in order: of one agent, or of all; those of some tools, or of any."""
        sql, parameters = "SELECT * FROM tool_calls WHERE run_id = ?", [run_id]
        if agent_id is not None:
            sql, parameters = f"{sql} AND agent_id = ?", [*parameters, agent_id]
        if tools:
            sql, parameters = f"{sql} AND tool IN ({', '.join('?' for _ in tools)})", [*parameters, *tools]
        return self.shown(records(ToolCallRow, self._reading.rows(f"{sql} ORDER BY agent_id, n", parameters)))

    def timers(self, run_id: str) -> tuple[TimerRow, ...]:
        """The timers of a run that fired."""
        return records(TimerRow, self._reading.rows("SELECT * FROM timers WHERE run_id = ? ORDER BY n", (run_id,)))

    def events(
        self, run_id: str, *, after: int = 0, names: Sequence[str] = (), limit: int = -1
    ) -> tuple[EventRecord, ...]:
        """Events of a run in order; one that cannot be read is left out.

        Args:
            run_id: The run.
            after: Only those with a greater `seq`.
            names: Only those of these names; all where there are none.
            limit: At most so many; negative for all.
        """
        chosen = f"AND event IN ({', '.join('?' for _ in names)})" if names else ""
        sql = f"SELECT * FROM events WHERE run_id = ? AND seq > ? {chosen} ORDER BY seq LIMIT ?"
        rows = self._reading.rows(sql, (run_id, after, *names, limit))
        return self.shown(tuple(event for row in rows if (event := event_record(row)) is not None))

    def last_seq(self, run_id: str) -> int:
        """The number of a run's last event; 0 where there is none."""
        rows = self._reading.rows("SELECT coalesce(max(seq), 0) AS seq FROM events WHERE run_id = ?", (run_id,))
        return int(rows[0]["seq"])

    def last_event(self, run_id: str, name: str) -> EventRecord | None:
        """The last event of a name; None where there is none."""
        sql = "SELECT * FROM events WHERE run_id = ? AND event = ? ORDER BY seq DESC LIMIT 1"
        rows = self._reading.rows(sql, (run_id, name))
        return self.shown(event_record(rows[0])) if rows else None

    def payments(self, *, run_id: str | None = None, since: str | None = None) -> tuple[Payment, ...]:
        """What was paid, in order of time: by one run or by all, since a time (ISO 8601 UTC) or ever."""
        return self.shown(tuple(payments_of(self._reading.rows, run_id=run_id, since=since)))

    def sizes(self) -> dict[str, int]:
        """About how many bytes each run takes."""
        from callsheet.store.pruning import SIZED, size_query

        found: dict[str, int] = {}
        for table in SIZED:
            for row in self._reading.rows(size_query(table)):
                found[row["run_id"]] = found.get(row["run_id"], 0) + row["bytes"]
        return found

    def message_counts(self) -> dict[str, int]:
        """How many messages of conversations each run has."""
        rows = self._reading.rows("SELECT run_id, count(*) AS messages FROM agent_messages GROUP BY run_id")
        return {row["run_id"]: row["messages"] for row in rows}

    def rows(self, table: str, run_id: str) -> Iterator[dict[str, JsonValue]]:
        """The rows of one run in a table, as they stand, columns by name; none where the record is older than that."""
        if not self._reading.rows("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", (table,)):
            return
        for row in self._reading.rows(f"SELECT * FROM {table} WHERE run_id = ?", (run_id,)):
            yield self.shown(dict(row))

    def shown(self, found: T) -> T:
        """The same without what is to be hidden, as all that is read here: for what comes of other files."""
        return found if self._hiding is None else hidden(found, self._hiding)


def _text_hidden(text: str, hiding: Hiding) -> str:
    """A text without it; one of JSON string by string, since what stands in it may be JSON itself."""
    if text.startswith(("{", "[", '"')):
        try:
            value: JsonValue = json.loads(text)
        except (ValueError, RecursionError):
            return hiding.text(text)
        shown = hiding.json(value)
        return text if shown == value else json.dumps(shown, ensure_ascii="\\u" in text)
    return hiding.text(text)


def hidden(found: T, hiding: Hiding) -> T:
    """The same record, tuple, list, object or text with its texts hidden, however deep they stand."""
    return cast(T, _hidden(found, hiding))


def _hidden(found: Any, hiding: Hiding) -> Any:
    match found:
        case str():
            return _text_hidden(found, hiding)
        case dict() | list():
            return hiding.json(found)
        case tuple():
            return tuple(_hidden(each, hiding) for each in found)
        case _ if is_dataclass(found) and not isinstance(found, type):
            said = {each.name: getattr(found, each.name) for each in fields(found)}
            changed = {name: shown for name, value in said.items() if (shown := _hidden(value, hiding)) is not value}
            return replace(found, **changed) if changed else found
        case _:
            return found


@contextmanager
def open_record(path: Path, *, is_checked: bool = True, hiding: Hiding | None = None) -> Iterator[Record]:
    """Opens a record to read it. Nothing is made beside it, and a run that writes it is not held up.

    Args:
        path: The record.
        is_checked: It is looked through for damage, where it is not too large for that; else only what is read is.
        hiding: Takes out of all that is read what nobody is to be shown; None to read it as it was written.

    Raises:
        StoreError: There is no record, or it cannot be read; names the path and the remedy.
    """
    with closing(RecordReading(path, is_checked=is_checked)) as reading:
        yield Record(reading, hiding)


def _beginning(prefix: str) -> str:
    return prefix.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"


def json_list(text: str) -> tuple[str, ...]:
    """The texts of a JSON list in a column; none where that is not one."""
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
