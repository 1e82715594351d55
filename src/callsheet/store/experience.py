"""What finished calls of a workflow came to: the ground of estimates for calls of the same sort. Changes nothing."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage
from callsheet.store.reader import open_reading

MOST_CALLS = 5_000
"""The newest so many are looked at."""

_SQL = """
SELECT agent_runs.phase, agent_runs.workflow AS nested, model, mode, options, {parts} AS parts, input_tokens,
    output_tokens, cache_read_tokens, cache_write_tokens, cost_usd, timestamp_start, timestamp_end
FROM agent_runs JOIN runs USING (run_id)
WHERE runs.workflow = ? AND backend = ?
    AND agent_runs.status IN ('ok', 'failed', 'invalid', 'timed_out', 'conflict', 'reverted')
    AND agent_runs.attempts > 0
ORDER BY runs.started_ms DESC, call DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """One call that ended by itself.

    Attributes:
        workflow: The nested workflow that it worked for; None for the run's own script.
        model: That answered, as the service named it.
        duration_s: From its start to its end; None where a time is missing.
    """

    phase: str | None
    workflow: str | None
    agent_type: str
    model: str | None
    is_fast: bool
    usage: Usage
    duration_s: float | None


def finished_calls(path: Path, *, workflow: str, backend: str) -> tuple[FinishedCall, ...]:
    """The newest finished calls of a workflow that one backend answered; none where there is no record.

    Raises:
        StoreError: The record is there, and cannot be read.
    """
    if not path.is_file():
        return ()
    with open_reading(path) as connection:
        (has_parts,) = connection.execute(
            "SELECT count(*) FROM pragma_table_info('agent_runs') WHERE name = 'parts'"
        ).fetchone()
        sql = _SQL.format(parts="parts" if has_parts else "NULL")
        return tuple(map(_call, connection.execute(sql, (workflow, backend, MOST_CALLS))))


def _call(row: Any) -> FinishedCall:
    return FinishedCall(
        phase=row["phase"],
        workflow=row["nested"],
        agent_type=_agent_type(row["parts"], row["options"]),
        model=row["model"],
        is_fast=row["mode"] == "fast",
        usage=Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            cost_usd=row["cost_usd"],
        ),
        duration_s=_seconds(row["timestamp_start"], row["timestamp_end"]),
    )


def _agent_type(parts: str | None, options: str | None) -> str:
    """Its name: the part says it with a hash of the definition; older records have only what the call said."""
    said = _object(parts).get("agent_type")
    if isinstance(said, str):
        return said.rpartition(" #")[0] or said
    given = _object(options).get("agentType")
    return given if isinstance(given, str) else "general-purpose"


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(start: str | None, end: str | None) -> float | None:
    try:
        taken = datetime.fromisoformat(end or "") - datetime.fromisoformat(start or "")
    except (ValueError, TypeError):
        return None
    return max(0.0, taken.total_seconds())
