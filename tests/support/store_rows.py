"""Rows for tests of the record: whole and ordinary, any field changed by name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from callsheet.model.records import AgentRow, DeliveredRow, EventRow, RunEndRow, RunRow

RUN_ID = "run_01JABCDEFGHJKMNPQRSTVWXYZ0"
AT = "2026-11-21T08:00:00.123Z"

_RUN = RunRow(
    run_id=RUN_ID,
    workflow="review",
    script_text="export const meta = {name: 'review', description: 'd'}\n",
    script_path="/ws/review.js",
    args='{"path":"src"}',
    seed=7,
    parent_run_id=None,
    started_at=AT,
    started_ms=1_795_248_000_123,
    settings="{}",
    version="1",
)
_AGENT = AgentRow(
    run_id=RUN_ID,
    agent_id="a0001",
    call=1,
    key="5f" * 32,
    occurrence=1,
    label="review:bugs",
    phase="Review",
    workflow=None,
    task_description="Look for bugs.",
    options='{"label":"review:bugs"}',
    status="queued",
    backend="scripted",
    model=None,
    mode="default",
    timestamp_queued=AT,
)


def run_row(**changes: Any) -> RunRow:
    return replace(_RUN, **changes)


def run_end_row(**changes: Any) -> RunEndRow:
    row = RunEndRow(run_id=RUN_ID, status="completed", result='{"ok":true}', error=None, ended_at=AT)
    return replace(row, **changes)


def agent_row(number: int = 1, **changes: Any) -> AgentRow:
    return replace(_AGENT, agent_id=f"a{number:04}", call=number, **changes)


def delivered_row(number: int = 1, **changes: Any) -> DeliveredRow:
    row = DeliveredRow(
        run_id=RUN_ID, agent_id=f"a{number:04}", delivered_seq=number, delivered_at=1_795_248_000_123, spent_after=50
    )
    return replace(row, **changes)


def event_row(seq: int, *, run_id: str = RUN_ID, **fields: Any) -> EventRow:
    payload = {"event": "log", "run_id": run_id, "seq": seq, "at": AT, "level": "info", "message": f"line {seq}"}
    return EventRow(
        run_id=run_id, seq=seq, at=AT, event="log", payload=json.dumps(payload | fields, separators=(",", ":"))
    )
