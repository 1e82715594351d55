"""A run that ended early and whose script is about to be run again: it can go on instead."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from callsheet.app import places
from callsheet.app.ground import Terms
from callsheet.app.plan import UNSET, RunOrder, Surroundings
from callsheet.app.records import Listed, Runs, Where, open_runs
from callsheet.app.resume import ResumeOrder, order_of_record
from callsheet.app.source import expanded
from callsheet.errors import CallsheetError
from callsheet.model.dataclass import dataclass

_LOOKED_AT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A run that can go on.

    Attributes:
        begun_at: ISO 8601 UTC.
        agents: How many it has had; `answered` of them have an answer on record.
    """

    run_id: str
    begun_at: str
    agents: int
    answered: int


def offer_for(order: RunOrder, around: Surroundings) -> Offer | None:
    """The newest run of the last days that was interrupted, of the same script with the same args; None for none.

    Only where it has answers on record: what has none is run anew at the same price. Whatever keeps the record from
    being read is for the run to say.
    """
    if order.resume is not None or order.stdin is not None:
        return None
    where = Where(
        store=order.choices.store, workspace=order.workspace, start=around.start, environ=dict(around.environ)
    )
    since = (datetime.now(UTC) - places.OFFERED_FOR).isoformat()
    try:
        if not where.record.is_file():
            return None
        with open_runs(where, is_checked=False, as_written=True) as runs:
            for run in runs.listed(limit=_LOOKED_AT):
                if run.status == "interrupted" and run.line.started_at > since and _is_like(runs, run, order, around):
                    return _offer(runs, run)
    except (CallsheetError, OSError):
        return None
    return None


def taken(order: RunOrder, offer: Offer, around: Surroundings) -> RunOrder:
    """The order for going on with it, with the script as it is now and all else that was said.

    Raises:
        CallsheetError: As `order_of_record`.
    """
    resume = ResumeOrder(
        run=offer.run_id,
        script=order.script,
        args=order.args,
        choices=order.choices,
        workspace=order.workspace,
        terms=None if order.terms == Terms() else order.terms,
        permissions=order.permissions,
    )
    return order_of_record(resume, around)


def _is_like(runs: Runs, run: Listed, order: RunOrder, around: Surroundings) -> bool:
    line = run.line
    path = Path(around.start / expanded(order.script)).resolve()
    is_same_file = line.script_path is not None and Path(line.script_path).resolve() == path
    if not (is_same_file or line.workflow == order.script):
        return False
    found = runs.record.run(run.run_id)
    if found is None:
        return False
    recorded = UNSET if found.run.args is None else json.loads(found.run.args)
    root = runs.root_of(run.run_id)
    return bool(recorded == order.args) and (root is None or runs.is_here(root))


def _offer(runs: Runs, run: Listed) -> Offer | None:
    calls = runs.record.calls(run.run_id)
    answered = sum(call.status == "ok" for call in calls)
    if not answered:
        return None
    return Offer(run_id=run.run_id, begun_at=run.line.started_at, agents=len(calls), answered=answered)
