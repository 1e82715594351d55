"""Agents that send requests to no model, but pay for them: each by a reservation, as a backend does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from callsheet.errors import OverBudgetError
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.reports import MessageAdded, Progress
from callsheet.model.spending import Need, Paid
from callsheet.ports import AgentReporter
from tests.support.fake_backend import Act


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request: what it wants, and what it comes to.

    Attributes:
        tokens: What the reply has, at most as many as it was granted.
        usd: What it costs.
        want, fixed_usd, output_usd: As in `Need`.
        hold: Waited for while the request is under way.
        sent: Set when it is.
    """

    tokens: int = 10
    usd: float = 0.0
    want: int = 100
    enough: int = 100
    fixed_usd: float | None = 0.0
    output_usd: float | None = 0.0
    hold: anyio.Event | None = None
    sent: anyio.Event | None = None


def pays(*turns: Turn, grants: list[int] | None = None, value: str = "done") -> Act:
    """An agent that sends these requests, then answers; `grants` takes the tokens that each was granted."""

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        return await _act(turns, [] if grants is None else grants, value, reporter)

    return act


async def _act(turns: Sequence[Turn], grants: list[int], value: str, reporter: AgentReporter) -> AgentOutcome:
    total = Usage()
    for number, turn in enumerate(turns):
        await reporter.report(MessageAdded(payload={"role": "user", "n": number}))
        need = Need(
            model="fake-1",
            output_tokens=turn.want,
            enough_tokens=turn.enough,
            fixed_usd=turn.fixed_usd,
            output_usd=turn.output_usd,
        )
        try:
            grant = await reporter.reserve(need)
        except OverBudgetError as error:
            return AgentOutcome(status=error.status, error=error.message, usage=total, model="fake-1")
        grants.append(grant.output_tokens)
        if turn.sent is not None:
            turn.sent.set()
        if turn.hold is not None:
            await turn.hold.wait()
        usage = Usage(output_tokens=min(turn.tokens, grant.output_tokens), cost_usd=turn.usd)
        total += usage
        await reporter.report(Progress(tokens=total.output_tokens, usage=total))
        payload = MessageAdded(payload={"role": "assistant", "n": number}, paid=Paid(n=grant.n, usage=usage))
        await reporter.report(payload)
    return AgentOutcome(status="ok", value=value, usage=total, model="fake-1")
