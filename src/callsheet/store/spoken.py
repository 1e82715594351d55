"""Conversations of several calls, as they are on record. Changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from callsheet.errors import NotFoundError, StoreError
from callsheet.model.approval import QuestionAnswered
from callsheet.model.conversation import SpokenTurn, answer_text
from callsheet.model.dataclass import dataclass
from callsheet.model.events import ApprovalAnswered, ApprovalAsked
from callsheet.model.opening import Opening
from callsheet.model.recorded import recorded_event
from callsheet.model.values import JsonValue
from callsheet.store.checksums import is_outcome_altered
from callsheet.store.opening import RecordReading
from callsheet.store.reader import event_record

MAX_TURNS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidInTurn:
    """What is on record of a turn.

    Attributes:
        messages: As they were reported, in order.
        opening: How its requests began.
    """

    messages: tuple[JsonValue, ...] = ()
    opening: Opening | None = None


def said_in_turn(reading: RecordReading, row: sqlite3.Row, attempt: int) -> SaidInTurn:
    """What an agent that ended well said as a turn of a conversation; nothing for any other."""
    if row["status"] != "ok" or not is_turn(row):
        return SaidInTurn()
    return said_in_attempt(reading, row["run_id"], row["agent_id"], attempt)


def is_turn(row: sqlite3.Row) -> bool:
    """Whether an agent is a turn of a conversation of several calls."""
    return '"conversation"' in row["options"] and "conversation" in _object(row["options"])


def said_in_attempt(reading: RecordReading, run_id: str, agent_id: str, attempt: int) -> SaidInTurn:
    """What was said in an attempt; nothing where that is not on record any more, or cannot be read."""
    sql = "SELECT * FROM agent_messages WHERE run_id = ? AND agent_id = ? AND attempt = ? ORDER BY n"
    try:
        rows = reading.rows(sql, (run_id, agent_id, attempt))
        messages = tuple(json.loads(one["payload"]) for one in rows)
    except (StoreError, ValueError, RecursionError):
        return SaidInTurn()
    return SaidInTurn(messages=messages, opening=last_opening(rows))


def last_opening(messages: Sequence[sqlite3.Row]) -> Opening | None:
    """How the requests of an attempt began, by its messages; the last word counts, where it went on elsewhere."""
    if not messages or "opening" not in messages[0].keys():  # noqa: SIM118 - a row is searched by its values
        return None  # as older versions wrote it
    said = [one["opening"] for one in messages if one["opening"] is not None]
    return Opening.read(said[-1]) if said else None


def answered_in_run(reading: RecordReading, run_id: str) -> tuple[tuple[str, QuestionAnswered], ...]:
    """The questions to people that were answered, in order, each with when that was."""
    names = ("approval.asked", "approval.answered")
    sql = "SELECT * FROM events WHERE run_id = ? AND event IN (?, ?) ORDER BY seq"
    asked: dict[str, ApprovalAsked] = {}
    answered: list[tuple[str, QuestionAnswered]] = []
    for row in reading.rows(sql, (run_id, *names)):
        found = event_record(row)
        event = None if found is None else recorded_event(found.payload)
        match None if event is None else event.body:
            case ApprovalAsked() as question:
                asked[question.id] = question
            case ApprovalAnswered() as answer if answer.id in asked and _is_answer(answer):
                question = asked[answer.id]
                told = QuestionAnswered(
                    kind=question.kind, tool=question.tool, verdict=answer.verdict, agents=answer.agents
                )
                answered.append((row["at"], told))
            case _:
                pass
    return tuple(answered)


def _is_answer(answer: ApprovalAnswered) -> bool:
    """Not where the question was only taken away, with the run or with who had asked."""
    return answer.verdict != "unanswered" or answer.by == "time limit"


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
    said = said_in_attempt(reading, row["run_id"], row["agent_id"], last[0]["attempt"] or 0)
    turn = SpokenTurn(
        run_id=row["run_id"],
        agent_id=row["agent_id"],
        prompt=row["task_description"],
        context=context if isinstance(context, str) else None,
        answer=answer_text(row["result"]),
        messages=said.messages,
        backend=row["backend"],
        model=model if isinstance(model, str) else None,
        frame=str(follows.get("frame") or ""),
        opening=said.opening,
    )
    return turn, (before, agent) if isinstance(before, str) and isinstance(agent, str) else None


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
