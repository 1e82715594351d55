"""The agents of a run before its budgets: who may send a request now, who waits, what each came to (CONTRACT G04)."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import field, replace
from itertools import count

import anyio

from callsheet.engine.budget import Refusal, Short
from callsheet.engine.call import Call
from callsheet.engine.pots import Scope, sound
from callsheet.engine.state import RunState
from callsheet.errors import OverBudgetError
from callsheet.model.dataclass import dataclass
from callsheet.model.events import AgentWaiting
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.records import SpendingRow
from callsheet.model.spending import Grant, Need, Paid

NOTHING = Usage()


@dataclass(slots=True, kw_only=True, order=True)
class _Waiting:
    """A request that waits for others to be settled: the highest priority first, then first come."""

    rank: tuple[float, int]
    call: Call = field(compare=False)
    need: Need = field(compare=False)
    short: Scope = field(compare=False)
    decision: Grant | Refusal | None = field(default=None, compare=False)
    decided: anyio.Event = field(default_factory=anyio.Event, compare=False)


class Reservations:
    """Keeps the ledger with every request, and its rows: what is reserved before, and what came of it after.

    With a budget a reservation is on disk before its request is sent, so that one cut off by a crash is found again
    (CONTRACT R01); without one it is on its way there.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._waiting: list[_Waiting] = []
        self._order = count()
        self._rows: dict[int, SpendingRow] = {}

    # --- before a request -------------------------------------------------------------------------------------------

    async def reserve(self, call: Call, need: Need, *, before_wait: Callable[[], None]) -> Grant:
        """As `AgentReporter.reserve`; `before_wait` is called where it has to wait."""
        decision = self._decide(call, need)
        if isinstance(decision, Short):
            before_wait()
            decision = await self._wait(call, need, decision.scope)
        if isinstance(decision, Refusal):
            call.is_budget_spent = decision.scope.kind != "agent" and not decision.is_unpriced
            raise OverBudgetError(decision.says, status="failed" if decision.is_unpriced else "over_budget")
        state, task = self._state, call.task
        row = self._rows[decision.n] = SpendingRow(
            run_id=state.run_id,
            n=decision.n,
            agent_id=task.agent_id,
            attempt=task.attempt,
            model=need.model,
            state="reserved",
            at=state.clock.stamp(),
            reserved_tokens=decision.output_tokens,
            reserved_usd=decision.usd,
        )
        try:
            if state.ledger.is_hard or task.options.max_cost_usd is not None:
                await state.bus.commit((row,))
            else:
                state.bus.add(row)
                await state.bus.flush()
        except BaseException:
            self.settle(call, Paid(n=decision.n, usage=NOTHING))
            raise
        return decision

    def _decide(self, call: Call, need: Need) -> Grant | Short | Refusal:
        first = -call.task.options.priority
        barred = {one.short for one in self._waiting if one.rank[0] <= first}
        return self._state.ledger.reserve(call.account, need, barred=barred)

    async def _wait(self, call: Call, need: Need, short: Scope) -> Grant | Refusal:
        one = _Waiting(rank=(-call.task.options.priority, next(self._order)), call=call, need=need, short=short)
        insort(self._waiting, one)
        self._state.bus.emit(AgentWaiting(agent_id=call.task.agent_id, why="budget", until=None))
        call.stop_clock()
        try:
            await self._state.bus.flush()
            await one.decided.wait()
        except BaseException:
            if one.decision is None:
                self._waiting.remove(one)
            elif isinstance(one.decision, Grant):
                self._state.ledger.settle(call.account, Paid(n=one.decision.n, usage=NOTHING))
            self._serve()
            raise
        finally:
            call.start_clock()
        assert one.decision is not None
        return one.decision

    def _serve(self) -> None:
        """Decides for those who wait, in their order, whatever can be decided now."""
        barred: set[Scope] = set()
        for one in tuple(self._waiting):
            decision = self._state.ledger.reserve(one.call.account, one.need, barred=barred)
            if isinstance(decision, Short):
                one.short = decision.scope
                barred.add(decision.scope)
                continue
            one.decision = decision
            self._waiting.remove(one)
            one.decided.set()

    # --- after it ---------------------------------------------------------------------------------------------------

    def settle(self, call: Call, paid: Paid) -> None:
        """Books what a request came to; its row goes to disk with the next flush. Once: a second time says nothing."""
        if paid.n in call.account.held:
            self._book(call, paid)
            self._serve()

    def _book(self, call: Call, paid: Paid) -> None:
        state = self._state
        usage, warnings = state.ledger.settle(call.account, replace(paid, usage=sound(paid.usage)))
        self._write(self._rows.pop(paid.n), usage)
        state.warn_of_budget(warnings)

    def end(self, call: Call, outcome: AgentOutcome) -> AgentOutcome:
        """Books what an attempt used in all; gives its outcome with what nobody settled.

        A request that was under way to the last came to what the outcome has beyond the others. Where that is nothing,
        nobody knows: it is booked as reserved, marked as an estimate (CONTRACT R01). Others may have what was reserved
        only when all of it is booked.
        """
        state, account = self._state, call.account
        unsettled = state.ledger.close(account)
        rest = outcome.usage.output_tokens > account.booked.output_tokens or (outcome.usage.cost_usd or 0.0) > (
            account.booked.cost_usd or 0.0
        )
        for paid in unsettled:
            if rest:
                self._book(call, Paid(n=paid.n, usage=NOTHING))
            else:
                outcome = replace(outcome, usage=outcome.usage + paid.usage)
                self._book(call, paid)
        left, warnings = state.ledger.book_rest(account, outcome.usage)
        if left != NOTHING:
            row = SpendingRow(
                run_id=state.run_id,
                n=state.ledger.next_number(),
                agent_id=call.task.agent_id,
                attempt=call.task.attempt,
                model=outcome.model or call.task.model,
                state="settled",
                at=state.clock.stamp(),
            )
            self._write(row, left)
        state.warn_of_budget(warnings)
        self._serve()
        return outcome

    def _write(self, row: SpendingRow, usage: Usage) -> None:
        self._state.bus.add(
            replace(
                row,
                state="settled",
                at=self._state.clock.stamp(),
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                cost_usd=usage.cost_usd,
                estimated_usd=usage.estimated_usd,
            )
        )
