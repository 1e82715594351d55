"""The use case: who spent it. What runs of a record have paid, summed by workflow, phase, model, label or day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callsheet.app import places
from callsheet.app.plan import Surroundings
from callsheet.app.settings import Choices, resolve_settings
from callsheet.errors import NotFoundError, UsageError
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.store.spending import Payment

By = Literal["workflow", "phase", "model", "label", "day"]
BY: tuple[By, ...] = ("workflow", "phase", "model", "label", "day")
LAST = "last"


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
    store: str | None = None
    workspace: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One sum.

    Attributes:
        name: Of the group; None for what has none: no phase, no model.
        payments: Requests to a model, or what an agent used otherwise.
        cost_usd: What is known of the cost.
        unpriced: Payments whose price is not known: they are not in `cost_usd`.
        estimated_usd: The part of `cost_usd` that the service did not say: requests that broke off or were cut off.
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


def costs(order: CostOrder, around: Surroundings) -> Costs:
    """Sums up what is on record. Reads only; of a run that goes on it is what it has paid by now.

    Raises:
        UsageError: No such run; a run and a time together.
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.store.spending import read_payments

    if order.run is not None and order.since_s is not None:
        raise UsageError("Give a run or --since: a run's cost is that of all its attempts.")
    root = places.workspace(around.start, order.workspace).root
    choices = Choices(store=order.store)
    resolved = resolve_settings(choices, workspace=root, environ=around.environ, config_dir=around.config_dir)
    record = places.record_of(root, resolved.store, around.environ).path
    run_id = None if order.run is None else _find(record, order.run, root)
    since = None if order.since_s is None else _iso(datetime.now(UTC) - timedelta(seconds=order.since_s))
    by = order.by or ("phase" if run_id is not None else "workflow")
    groups: dict[str | None, list[Payment]] = {}
    payments = read_payments(record, run_id=run_id, since=since)
    for payment in payments:
        groups.setdefault(_group(payment, by), []).append(payment)
    lines = [_line(name, of) for name, of in groups.items()]
    if by == "day":
        lines.sort(key=lambda one: one.name or "")
    else:
        lines.sort(key=lambda one: (-one.cost_usd, -one.output_tokens, one.name or ""))
    return Costs(record=record, run_id=run_id, since=since, by=by, lines=tuple(lines), total=_line(None, payments))


def _find(record: Path, name: str, root: Path) -> str:
    """The run that a name means."""
    known = places.recorded_names(record)
    if name == LAST:
        found = places.recorded_run(record, None, root)
        if found is None:
            raise NotFoundError(f"The record {record} has no run yet.", name=name)
        return found.run.run_id
    if name in known or places.recorded_run(record, name, root) is not None:
        return name
    near = tuple(run for run in known if run.startswith(name))
    if len(near) == 1:
        return near[0]
    if near:
        raise UsageError(f"{name} is the beginning of several runs: {', '.join(near[:5])}. Give more of it.")
    near = tuple(get_close_matches(name, known, n=1, cutoff=0.8)) or known[:5]
    there_are = f"The last ones are: {', '.join(near)}." if near else "It has none."
    raise NotFoundError(f"There is no {name} in the record {record}. {there_are}", name=name, near=near)


def _iso(moment: datetime) -> str:
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
        payments=len(payments),
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
