"""Conversations of several calls, as they are on record. Changes nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from callsheet.errors import NotFoundError, StoreError
from callsheet.model.conversation import SpokenTurn, answer_text
from callsheet.model.values import JsonValue
from callsheet.store.checksums import is_outcome_altered
from callsheet.store.opening import RecordReading

MAX_TURNS = 10_000


def said_in_turn(reading: RecordReading, row: sqlite3.Row, attempt: int) -> tuple[JsonValue, ...]:
    """The messages of an agent that ended well as a turn of a conversation; none for any other."""
    if row["status"] != "ok" or '"conversation"' not in row["options"]:
        return ()
    if "conversation" not in _object(row["options"]):
        return ()
    return _messages(reading, row["run_id"], row["agent_id"], attempt)


def read_conversation(path: Path, run_id: str, agent_id: str) -> tuple[SpokenTurn, ...]:
    """All turns of a conversation up to one, over all runs that it goes through.

    Where a run before was taken out of the record the conversation begins behind it.

    Raises:
        NotFoundError: The record has no such turn, or it did not end well.
        StoreError: There is no record, or it cannot be read.
    """
    turns: list[SpokenTurn] = []
    seen: set[tuple[str, str]] = set()
    at: tuple[str, str] | None = (run_id, agent_id)
    with closing(RecordReading(path, is_checked=False)) as reading:
        while at is not None and at not in seen and len(turns) < MAX_TURNS:
            seen.add(at)
            found = reading.rows("SELECT * FROM agent_runs WHERE run_id = ? AND agent_id = ?", at)
            row = found[0] if found else None
            if row is None or row["status"] != "ok" or row["result"] is None or is_outcome_altered(row):
                break
            turn, at = _turn(reading, row)
            turns.append(turn)
    if not turns:
        raise NotFoundError(
            f"There is no conversation to go on with: the record {path} has no agent {agent_id} of {run_id} that ended "
            "well, or has lost it (callsheet prune, damage).",
            name=f"{run_id}/{agent_id}",
        )
    return tuple(reversed(turns))


def _turn(reading: RecordReading, row: sqlite3.Row) -> tuple[SpokenTurn, tuple[str, str] | None]:
    """One turn, and the one before it."""
    columns, options = dict(row), _object(row["options"])
    follows = _object(_object(columns.get("details") or "{}").get("conversation"))
    before, agent = follows.get("run_id"), follows.get("agent_id")
    last = reading.rows(
        "SELECT max(attempt) AS attempt FROM agent_messages WHERE run_id = ? AND agent_id = ?",
        (row["run_id"], row["agent_id"]),
    )
    context, model = options.get("context"), follows.get("model")
    turn = SpokenTurn(
        run_id=row["run_id"],
        agent_id=row["agent_id"],
        prompt=row["task_description"],
        context=context if isinstance(context, str) else None,
        answer=answer_text(row["result"]),
        messages=_messages(reading, row["run_id"], row["agent_id"], last[0]["attempt"] or 0),
        backend=row["backend"],
        model=model if isinstance(model, str) else None,
        frame=str(follows.get("frame") or ""),
    )
    return turn, (before, agent) if isinstance(before, str) and isinstance(agent, str) else None


def _messages(reading: RecordReading, run_id: str, agent_id: str, attempt: int) -> tuple[JsonValue, ...]:
    """What was said in an attempt; nothing where that is not on record any more, or cannot be read."""
    sql = "SELECT payload FROM agent_messages WHERE run_id = ? AND agent_id = ? AND attempt = ? ORDER BY n"
    try:
        return tuple(json.loads(one["payload"]) for one in reading.rows(sql, (run_id, agent_id, attempt)))
    except (StoreError, ValueError):
        return ()


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
