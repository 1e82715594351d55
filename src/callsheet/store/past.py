"""A recorded run as a resumed one needs it (CONTRACT R01–R08). Changes nothing."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from callsheet.errors import StoreError
from callsheet.model.call import KeptConversation
from callsheet.model.outcome import AGENT_STATUSES, AgentOutcome, AgentWorktree, Ran, Usage
from callsheet.model.past import Past, PastAgent, PastDraft, PastTimer, Seen
from callsheet.store.checksums import altered_line, is_outcome_altered
from callsheet.store.opening import RecordReading
from callsheet.store.reader import SEED_MASK
from callsheet.store.spending import paid_by_phase, payments_of
from callsheet.store.spoken import SaidInTurn, answered_in_run, is_turn, last_opening, said_in_turn

_LAST_OF_AGENTS = "SELECT agent_id, max(n) AS n, attempt FROM {table} WHERE run_id = ? GROUP BY agent_id"
"""How many rows an agent has, with the attempt of the last: SQLite takes bare columns from the row of the maximum."""


_CUT_OFF = frozenset({"running", "cancelled", "over_budget"})
"""How agents ended, or did not, that may go on in the middle: not by themselves."""

_DECIDED = frozenset({"once", "run", "deny"})
"""What a person said about a nested script; all else is no answer."""

Lost: TypeAlias = tuple[tuple[str | None, int], ...]
"""Of requests that were cut off the model and the output tokens reserved."""


def read_past(path: Path, run_id: str) -> Past | None:
    """What is on record of a run, for being resumed; None where the record has no such run.

    Raises:
        StoreError: There is no record, or it cannot be read.
    """
    # Not looked through for damage: a query that meets some is asked once more of what can be read.
    with closing(RecordReading(path, is_checked=False)) as reading:
        runs = reading.rows("SELECT * FROM runs WHERE run_id = ?", (run_id,))
        if not runs:
            return None
        run = dict(runs[0])
        settings = _json(run["settings"], {})
        traceparent = settings.get("traceparent")
        messages = _last(reading, "agent_messages", run_id)
        tool_calls = _last(reading, "tool_calls", run_id)
        last = reading.rows("SELECT seq, at FROM events WHERE run_id = ? ORDER BY seq DESC LIMIT 1", (run_id,))
        rows = reading.rows("SELECT * FROM agent_runs WHERE run_id = ? ORDER BY call, agent_id", (run_id,))
        timers = reading.rows("SELECT * FROM timers WHERE run_id = ? ORDER BY n", (run_id,))
        paid, last_payment = paid_by_phase(reading.rows, run_id)
        used = _used_by_unended(reading, run_id)
        none = (0, 0)
        altered = tuple(row["agent_id"] for row in rows if is_outcome_altered(row))
        return Past(
            run_id=run_id,
            seed=run["seed"] & SEED_MASK,
            started_ms=run["started_ms"],
            attempts=run.get("attempts", 1),
            rules=run["version"],
            surroundings={
                "HEAD": run.get("head"),
                "memory files": settings.get("memory"),
                "version": run.get("program"),
            },
            agents=tuple(
                _agent(
                    dict(row),
                    messages.get(row["agent_id"], none),
                    tool_calls.get(row["agent_id"], none),
                    _kept(reading, row, messages.get(row["agent_id"], none)),
                    used.get(row["agent_id"]),
                    said=said_in_turn(reading, row, messages.get(row["agent_id"], none)[1]),
                    is_altered=row["agent_id"] in altered,
                )
                for row in rows
            ),
            timers=tuple(_timer(dict(row)) for row in timers),
            last_event=last[0]["seq"] if last else 0,
            last_ms=_epoch_ms(last[0]["at"]) if last else run["started_ms"],
            paid=paid,
            last_payment=last_payment,
            drafts=_drafts(reading, run_id),
            answers=answered_in_run(reading, run_id) if any(map(is_turn, rows)) else (),
            notes=(altered_line(path, altered),) if altered else (),
            traceparent=traceparent if isinstance(traceparent, str) else None,
        )


def _drafts(reading: RecordReading, run_id: str) -> tuple[PastDraft, ...]:
    """What was decided about nested scripts, of each the last word."""
    if not reading.rows("SELECT 1 FROM pragma_table_info('nested_scripts') WHERE name = 'decision'", ()):
        return ()
    rows = reading.rows(
        "SELECT attempt, n, same_as, decision, decided_by, words, args_sha256, script_text FROM nested_scripts"
        " WHERE run_id = ? ORDER BY attempt, n",
        (run_id,),
    )
    hashes: dict[tuple[int, int], str] = {}
    counted: Counter[tuple[int, str]] = Counter()
    found: dict[tuple[str, int], PastDraft] = {}
    for row in rows:
        attempt, n, text = row["attempt"], row["n"], row["script_text"]
        if text is not None:
            hashes[(attempt, n)] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        sha256 = hashes.get((attempt, n if row["same_as"] is None else row["same_as"]))
        if sha256 is None or row["decision"] is None:
            continue
        counted[(attempt, sha256)] += 1
        occurrence = counted[(attempt, sha256)]
        if row["decision"] in _DECIDED:
            found[(sha256, occurrence)] = PastDraft(
                sha256=sha256,
                occurrence=occurrence,
                decision=row["decision"],
                by=row["decided_by"] or "",
                words=row["words"],
                args_sha256=row["args_sha256"],
            )
    return tuple(found.values())


def _last(reading: RecordReading, table: str, run_id: str) -> dict[str, tuple[int, int]]:
    """By agent how many rows there are, and the attempt of the last one."""
    has_attempt = reading.rows("SELECT 1 FROM pragma_table_info(?) WHERE name = 'attempt'", (table,))
    sql = _LAST_OF_AGENTS.format(table=table)
    rows = reading.rows(sql if has_attempt else sql.replace(" attempt ", " 1 AS attempt "), (run_id,))
    return {row["agent_id"]: (row["n"], row["attempt"]) for row in rows}


def _kept(reading: RecordReading, row: sqlite3.Row, messages: tuple[int, int]) -> KeptConversation | None:
    """The conversation of an agent's last attempt, where that was cut off."""
    (n, attempt) = messages
    if n == 0 or row["status"] not in _CUT_OFF:
        return None
    whose = (row["run_id"], row["agent_id"])
    try:
        said = reading.rows(
            "SELECT * FROM agent_messages WHERE run_id = ? AND agent_id = ? AND attempt = ? ORDER BY n",
            (*whose, attempt),
        )
        done = reading.rows(
            "SELECT tool, input, state FROM tool_calls WHERE run_id = ? AND agent_id = ? AND attempt = ? ORDER BY n",
            (*whose, attempt),
        )
        payloads = tuple(json.loads(one["payload"]) for one in said)
        if not any(isinstance(one, dict) and one.get("role") == "assistant" for one in payloads):
            return None  # there is nothing to go on from, and what it was asked is not to stand there twice
        return KeptConversation(
            messages=payloads,
            tool_calls=tuple((one["tool"], one["input"], one["state"]) for one in done),
            opening=last_opening(said),
        )
    except (StoreError, ValueError):
        return None  # a record of an older version, which knows no attempts; it begins again


def _used_by_unended(reading: RecordReading, run_id: str) -> dict[str, tuple[Usage, Lost]]:
    """What each agent used that has no end on record: what it had cost is else only known at its end.

    A request that nobody settled counts as it was reserved (CONTRACT R01); those without a price are named besides.
    """
    sql = "SELECT agent_id FROM agent_runs WHERE run_id = ? AND status IN ('queued', 'running')"
    unended = {row["agent_id"] for row in reading.rows(sql, (run_id,))}
    found: dict[str, tuple[Usage, Lost]] = {}
    for payment in payments_of(reading.rows, run_id=run_id) if unended else ():
        if payment.agent_id in unended:
            used, lost = found.get(payment.agent_id, (Usage(), ()))
            if payment.is_lost and payment.usage.cost_usd is None:
                lost = (*lost, (payment.model, payment.usage.output_tokens))
            else:
                used += payment.usage
            found[payment.agent_id] = (used, lost)
    return found


def _agent(
    row: dict[str, Any],
    messages: tuple[int, int],
    tool_calls: tuple[int, int],
    kept: KeptConversation | None,
    used: tuple[Usage, Lost] | None,
    *,
    said: SaidInTurn,
    is_altered: bool,
) -> PastAgent:
    outcome = _outcome(row)
    lost: Lost = ()
    if used is not None:
        outcome, lost = replace(outcome, usage=used[0]), used[1]
    has_begun = row["timestamp_start"] is not None or row["attempts"] > 0
    return PastAgent(
        agent_id=row["agent_id"],
        call=row["call"],
        key=row["key"],
        occurrence=row["occurrence"],
        label=row["label"],
        phase=row["phase"],
        workflow=row["workflow"],
        status="damaged" if is_altered else row["status"],
        backend=row["backend"],
        outcome=outcome,
        queued_at=row["timestamp_queued"],
        started_at=row["timestamp_start"],
        ended_at=row["timestamp_end"],
        value_json=row["result"] if row["status"] == "ok" and not is_altered else None,
        parts={name: str(value) for name, value in _json(row.get("parts"), {}).items()},
        marks={path: str(mark) for path, mark in _json(row.get("marks"), {}).items()},
        seen=_seen(row),
        messages=messages[0],
        tool_calls=tool_calls[0],
        attempt=max(messages[1], tool_calls[1], int(has_begun)),
        kept=kept,
        lost=lost,
        said=said.messages,
        opening=said.opening,
    )


def _outcome(row: dict[str, Any]) -> AgentOutcome:
    details = _json(row.get("details"), {})
    ran, tree = details.get("ran"), details.get("worktree")
    return AgentOutcome(
        status=row["status"] if row["status"] in AGENT_STATUSES else "cancelled",
        error=row["error"],
        usage=Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            cost_usd=row["cost_usd"],
            estimated_usd=details.get("estimated_usd", 0.0),
        ),
        attempts=row["attempts"],
        judged=details.get("judged", 0),
        model=row["model"],
        mode="fast" if row["mode"] == "fast" else "default",
        files_read=tuple(_json(row["files_accessed"], [])),
        files_changed=tuple(_json(row["files_changed"], [])),
        tools_called=tuple(_json(row["tools_called"], [])),
        ran=None if ran is None else Ran(**ran),
        worktree=None if tree is None else AgentWorktree(**tree),
    )


def _seen(row: dict[str, Any]) -> Seen | None:
    if row["delivered_seq"] is None:
        return None
    return Seen(
        seq=row["delivered_seq"],
        at_ms=row["delivered_at"],
        spent_tokens=row.get("spent_after") or 0,
        spent_usd=row.get("cost_after"),
    )


def _timer(row: dict[str, Any]) -> PastTimer:
    seen = _seen(row)
    assert seen is not None
    return PastTimer(n=row["n"], delay_ms=row.get("delay_ms"), seen=seen)


def _epoch_ms(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp() * 1000)


def _json(text: str | None, otherwise: Any) -> Any:
    """What a JSON column holds; `otherwise` where it holds nothing, or something of another kind."""
    if text is None or text == "[]":  # most of them, and thousands at once
        return otherwise
    try:
        value = json.loads(text)
    except ValueError:
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise
