"""The use case: who spent it. What runs of a record have paid, summed by workflow, phase, model, label or day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.app.records import Runs
    from callsheet.store.spending import Payment

By = Literal["workflow", "phase", "model", "label", "day"]
_NOTHING = Usage()
BY: tuple[By, ...] = ("workflow", "phase", "model", "label", "day")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostOrder:
    """What is asked for.

    Attributes:
        run: A run's name, the beginning of one, or `last`; None for all runs.
        since_s: Only what was paid in the last so many seconds; None for all.
        by: What sums are made by; None for what suits: phases of one run, workflows of many.
    """

    run: str | None = None
    since_s: float | None = None
    by: By | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One sum.

    Attributes:
        name: Of the group; None for what has none: no phase, no model.
        payments: Requests to a model that it took, or what an agent used otherwise.
        cost_usd: What is known of the cost.
        unpriced: Payments whose price is not known: they are not in `cost_usd`.
        estimated_usd: The part of `cost_usd` that the service did not say: requests that broke off or were cut
            off, and those under way, which count as they were set aside.
    """

    name: str | None
    agents: int
    payments: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float
    unpriced: int
    estimated_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Who spent it; days in order, all else the dearest first."""

    record: Path
    run_id: str | None
    since: str | None
    by: By
    lines: tuple[CostLine, ...]
    total: CostLine


def costs(runs: Runs, order: CostOrder) -> Costs:
    """Sums up what is on record; of a run that goes on it is what it has paid by now.

    Raises:
        NotFoundError: No such run.
        UsageError: Several begin so; a run and a time together.
        StoreError: The record cannot be read.
    """
    if order.run is not None and order.since_s is not None:
        raise UsageError("Give a run or --since: a run's cost is that of all its attempts.")
    run_id = None if order.run is None else runs.find(order.run).run_id
    since = None if order.since_s is None else _before(order.since_s)
    by = order.by or ("phase" if run_id is not None else "workflow")
    payments = runs.record.payments(run_id=run_id, since=since)
    groups: dict[str | None, list[Payment]] = {}
    for payment in payments:
        groups.setdefault(_group(payment, by), []).append(payment)
    lines = [_line(name, of) for name, of in groups.items()]
    if by == "day":
        lines.sort(key=lambda one: one.name or "")
    else:
        lines.sort(key=lambda one: (-one.cost_usd, -one.output_tokens, one.name or ""))
    return Costs(
        record=runs.record.path, run_id=run_id, since=since, by=by, lines=tuple(lines), total=_line(None, payments)
    )


def _before(seconds: float) -> str:
    """So long ago; the first of all times where that was before it."""
    try:
        moment = datetime.now(UTC) - timedelta(seconds=seconds)
    except OverflowError:
        moment = datetime.min
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _group(payment: Payment, by: By) -> str | None:
    match by:
        case "workflow":
            return payment.workflow
        case "phase":
            return payment.phase
        case "model":
            return payment.model
        case "label":
            return payment.label
        case "day":
            return payment.at[:10]


def _line(name: str | None, payments: Iterable[Payment]) -> CostLine:
    payments = tuple(payments)
    usages = [payment.usage for payment in payments]
    return CostLine(
        name=name,
        agents=len({(payment.run_id, payment.agent_id) for payment in payments}),
        payments=sum(usage != _NOTHING for usage in usages),
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in usages),
        cache_write_tokens=sum(usage.cache_write_tokens for usage in usages),
        cost_usd=sum(usage.cost_usd or 0.0 for usage in usages),
        unpriced=sum(usage.cost_usd is None for usage in usages),
        estimated_usd=sum(usage.estimated_usd for usage in usages),
    )


def costs_json(found: Costs) -> dict[str, JsonValue]:
    """The public form. A cost of which a part is not known is null; `known_usd` is the other part."""
    return {
        "record": str(found.record),
        "run_id": found.run_id,
        "since": found.since,
        "by": found.by,
        "groups": [{"name": line.name, **_line_json(line)} for line in found.lines],
        "total": _line_json(found.total),
    }


def _line_json(line: CostLine) -> dict[str, JsonValue]:
    return {
        "agents": line.agents,
        "payments": line.payments,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cache_read_tokens": line.cache_read_tokens,
        "cache_write_tokens": line.cache_write_tokens,
        "cost_usd": None if line.unpriced else line.cost_usd,
        "cost_known": not line.unpriced,
        "known_usd": line.cost_usd,
        "estimated_usd": line.estimated_usd,
    }
