"""A recorded run as a replay needs it. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from callsheet.errors import StoreError
from callsheet.model.outcome import AGENT_STATUSES
from callsheet.model.past import Past, PastAgent
from callsheet.model.replayed import RecordedCall, RecordedNested, RecordedRefusal, RecordedRun
from callsheet.model.run import RunError
from callsheet.model.sandbox import SandboxLimits
from callsheet.store.opening import RecordReading
from callsheet.store.past import read_past

REVERTED = "reverted"


def read_replayable(path: Path, run_id: str) -> RecordedRun:
    """What is on record of a run, for being run again from that alone.

    Raises:
        StoreError: There is no record, it cannot be read, or has no such run (any more).
    """
    past = read_past(path, run_id)
    if past is None:
        raise StoreError(f"The record {path}: {run_id} is not in it any more.", kind="config")
    with closing(RecordReading(path, is_checked=False)) as reading:
        return _Reader(reading, past).run()


class _Reader:
    def __init__(self, reading: RecordReading, past: Past) -> None:
        self._reading = reading
        self._past = past
        self._run_id = past.run_id

    def run(self) -> RecordedRun:
        (row,) = map(dict, self._reading.rows("SELECT * FROM runs WHERE run_id = ?", (self._run_id,)))
        settings = _object(row["settings"])
        events = list(self._events(_began(self._reading, self._run_id)))
        agents = {each["agent_id"]: dict(each) for each in self._rows("agent_runs", "call, agent_id")}
        asked = {said.get("agent_id") for name, said in events if name in ("agent.queued", "agent.finished")}
        past = replace(self._past, agents=tuple(self._as_given(agent, agents) for agent in self._past.agents))
        return RecordedRun(
            past=past,
            workflow=row["workflow"],
            script_text=row["script_text"],
            script_path=row["script_path"],
            args_json=row["args"],
            status=row["status"],
            result=_json(row["result"]),
            error=_error(row["error"]),
            backend=str(settings.get("backend") or ""),
            budget_tokens=settings.get("budget_tokens"),
            budget_usd=settings.get("budget_usd"),
            limits=_limits(_object(settings.get("sandbox"))),
            calls={
                agent_id: RecordedCall(
                    prompt=each["task_description"],
                    options=_object(each["options"]),
                    is_budget_spent=bool(_object(each.get("details")).get("budget_spent")),
                    is_of_last=self._past.attempts == 1 or agent_id in asked,
                )
                for agent_id, each in agents.items()
            },
            refusals={
                each["call"]: RecordedRefusal(
                    asked=each["asked"],
                    name=each["name"],
                    message=each["message"],
                    value=each["value"],
                    spent_tokens=each["spent_after"],
                    spent_usd=each["cost_after"],
                )
                for each in self._rows("refusals", "call", attempt=self._past.attempts)
            },
            nested=self._nested(),
            takes_drafts=settings.get("drafts") is True,
            logs=_logs(events),
            phases=tuple(
                (str(said.get("title")), said.get("workflow")) for name, said in events if name == "phase.started"
            ),
            notes=(*past.notes, *(() if self._reading.damage is None else (self._reading.damage,))),
        )

    def _nested(self) -> tuple[RecordedNested, ...]:
        rows = self._rows("nested_scripts", "n", attempt=self._past.attempts)
        texts = {each["n"]: each["script_text"] for each in rows}
        return tuple(
            RecordedNested(
                asked=each["asked"],
                path=each["script_path"],
                text=texts.get(each["n"] if each["same_as"] is None else each["same_as"]),
                error=each["error"],
                decision=dict(each).get("decision"),
            )
            for each in rows
        )

    def _as_given(self, agent: PastAgent, rows: dict[str, dict[str, Any]]) -> PastAgent:
        """An agent whose changes were taken back, with the outcome that the script was given then."""
        if agent.status != REVERTED:
            return agent
        row = rows[agent.agent_id]
        status = "ok" if row["result"] is not None else self._status_told(agent.agent_id)
        outcome = replace(agent.outcome, status=cast(Any, status))
        return replace(agent, status=status, outcome=outcome, value_json=row["result"])

    def _status_told(self, agent_id: str) -> str:
        ends = (said for name, said in self._events(0) if name == "agent.finished")
        told = [said.get("status") for said in ends if said.get("agent_id") == agent_id]
        return str(told[-1]) if told and told[-1] in AGENT_STATUSES else "failed"

    def _events(self, after: int) -> Iterator[tuple[str, dict[str, Any]]]:
        sql = (
            "SELECT event, payload FROM events WHERE run_id = ? AND seq > ? AND event IN"
            " ('agent.queued', 'agent.finished', 'log', 'phase.started') ORDER BY seq"
        )
        for row in self._reading.rows(sql, (self._run_id, after)):
            yield row["event"], _object(row["payload"])

    def _rows(self, table: str, order: str, *, attempt: int | None = None) -> list[Any]:
        """Rows of the run; none where the record is older than the table."""
        exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
        if not self._reading.rows(exists, (table,)):
            return []
        which = "" if attempt is None else " AND attempt = ?"
        given = (self._run_id,) if attempt is None else (self._run_id, attempt)
        return self._reading.rows(f"SELECT * FROM {table} WHERE run_id = ?{which} ORDER BY {order}", given)


def _began(reading: RecordReading, run_id: str) -> int:
    """Where the events of the last attempt begin."""
    sql = "SELECT coalesce(max(seq), 1) AS seq FROM events WHERE run_id = ? AND event = 'run.started'"
    return int(reading.rows(sql, (run_id,))[0]["seq"]) - 1


def _logs(events: list[tuple[str, dict[str, Any]]]) -> tuple[tuple[str, str, str | None], ...] | None:
    lines = [said for name, said in events if name == "log"]
    if any(said.get("by") is None for said in lines):
        return None
    return tuple(
        (str(said.get("level")), str(said.get("message")), said.get("workflow"))
        for said in lines
        if said["by"] == "script"
    )


def _limits(said: dict[str, Any]) -> SandboxLimits:
    known = {field.name: said[field.name] for field in fields(SandboxLimits) if field.name in said}
    return SandboxLimits(**known)


def _error(text: str | None) -> RunError | None:
    said = _object(text)
    if not said:
        return None
    return RunError(
        kind=said.get("kind", "internal"),
        message=str(said.get("message", "")),
        line=said.get("line"),
        column=said.get("column"),
    )


def _object(value: object) -> dict[str, Any]:
    value = _json(value) if isinstance(value, str) else value
    return value if isinstance(value, dict) else {}


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
