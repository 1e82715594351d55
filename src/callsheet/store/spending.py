"""What runs have paid, read from the record. A request whose host died counts as it was reserved (CONTRACT R01)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage

Rows: TypeAlias = Callable[[str, tuple[str, ...]], Iterable[Any]]
"""Asks a record with SQL and its parameters; rows have their columns by name."""

_SETTLED = """
SELECT spending.run_id, runs.workflow AS of_run, agent_runs.workflow, phase, label, agent_id,
    coalesce(spending.model, agent_runs.model) AS model, at, state, spending.input_tokens, spending.output_tokens,
    spending.cache_read_tokens, spending.cache_write_tokens, spending.cost_usd, estimated_usd, reserved_tokens,
    reserved_usd, n
FROM spending JOIN runs USING (run_id) JOIN agent_runs USING (run_id, agent_id)
"""
_OLDER = """
SELECT run_id, runs.workflow AS of_run, agent_runs.workflow, phase, label, agent_id,
    model, coalesce(timestamp_end, timestamp_queued) AS at, 'settled' AS state, input_tokens, output_tokens,
    cache_read_tokens, cache_write_tokens, cost_usd, 0.0 AS estimated_usd, NULL AS reserved_tokens,
    NULL AS reserved_usd, 0 AS n
FROM agent_runs JOIN runs USING (run_id)
WHERE agent_runs.attempts > 0
"""
_NOT_IN_SPENDING = " AND (run_id, agent_id) NOT IN (SELECT run_id, agent_id FROM spending {of_run})"
"""Made once, not looked for once an agent: that would take the square of their number."""

_BY_PHASE = """
SELECT phase, max(n) AS n,
    sum(CASE state WHEN 'reserved' THEN 0 ELSE input_tokens END) AS input_tokens,
    sum(CASE state WHEN 'reserved' THEN coalesce(reserved_tokens, 0) ELSE output_tokens END) AS output_tokens,
    sum(CASE state WHEN 'reserved' THEN 0 ELSE cache_read_tokens END) AS cache_read_tokens,
    sum(CASE state WHEN 'reserved' THEN 0 ELSE cache_write_tokens END) AS cache_write_tokens,
    total(CASE state WHEN 'reserved' THEN reserved_usd ELSE cost_usd END) AS cost_usd,
    sum(CASE state WHEN 'reserved' THEN reserved_usd ELSE cost_usd END IS NULL) AS unpriced,
    total(CASE state WHEN 'reserved' THEN reserved_usd ELSE estimated_usd END) AS estimated_usd
FROM ({both}) WHERE run_id = ?1 GROUP BY phase
"""


def _payments(rows: Rows, run_id: str | None) -> str:
    """SQL for all payments, of a run that is parameter 1 or of all. Older records know what agents came to."""
    if not any(True for _ in rows("SELECT 1 FROM sqlite_schema WHERE name = 'spending'", ())):
        return _OLDER
    besides = _NOT_IN_SPENDING.format(of_run="WHERE run_id = ?1" if run_id else "")
    return f"{_SETTLED} UNION ALL {_OLDER}{besides}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """One payment.

    Attributes:
        workflow: Of the run, or the nested one that the agent worked for.
        at: When it was settled, ISO 8601 UTC; of one that was not, when it was reserved.
        usage: What it came to; of one that nobody settled what was reserved, marked as an estimate.
        is_lost: Nobody settled it.
    """

    run_id: str
    n: int
    agent_id: str
    workflow: str | None
    phase: str | None
    label: str
    model: str | None
    at: str
    usage: Usage
    is_lost: bool = False


def payments_of(rows: Rows, *, run_id: str | None = None, since: str | None = None) -> Iterator[Payment]:
    """What was paid, in order of time.

    Args:
        rows: Asks the record.
        run_id: Of one run only.
        since: Only what was paid then or later, ISO 8601 UTC.
    """
    # Of one run only its own rows are looked at, however many runs the record has.
    where = f"run_id {'=' if run_id else '>'} ?1 AND at >= ?2"
    for row in rows(
        f"SELECT * FROM ({_payments(rows, run_id)}) WHERE {where} ORDER BY at, n", (run_id or "", since or "")
    ):
        yield Payment(
            run_id=row["run_id"],
            n=row["n"],
            agent_id=row["agent_id"],
            workflow=row["workflow"] or row["of_run"],
            phase=row["phase"],
            label=row["label"],
            model=row["model"],
            at=row["at"],
            usage=_usage(row),
            is_lost=row["state"] == "reserved",
        )


def paid_by_phase(rows: Rows, run_id: str) -> tuple[dict[str | None, Usage], int]:
    """What a run has paid by phase, and the number of its last payment; summed up by the database."""
    paid: dict[str | None, Usage] = {}
    last = 0
    for row in rows(_BY_PHASE.format(both=_payments(rows, run_id)), (run_id,)):
        last = max(last, row["n"])
        paid[row["phase"]] = Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            cache_write_tokens=row["cache_write_tokens"],
            cost_usd=None if row["unpriced"] else row["cost_usd"],
            estimated_usd=row["estimated_usd"],
        )
    return paid, last


def _usage(row: Any) -> Usage:
    if row["state"] == "reserved":
        return Usage(
            output_tokens=row["reserved_tokens"],
            cost_usd=row["reserved_usd"],
            estimated_usd=row["reserved_usd"] or 0.0,
        )
    return Usage(
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        cost_usd=row["cost_usd"],
        estimated_usd=row["estimated_usd"],
    )
