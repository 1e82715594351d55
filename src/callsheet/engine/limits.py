"""The limits of a run as its calls meet them: how many, how many agents, how much (CONTRACT L01, L03, G03)."""

from __future__ import annotations

from collections.abc import Sequence

from callsheet.engine.admission import Asked
from callsheet.engine.options import wants_settle
from callsheet.engine.scheduler import Scheduler
from callsheet.engine.settle import settled
from callsheet.engine.state import RunState
from callsheet.model.outcome import Usage
from callsheet.model.sandbox import AgentCalled, ResolveCall


class Limits:
    """Answers the calls that a limit refuses."""

    def __init__(self, state: RunState, scheduler: Scheduler) -> None:
        self._state = state
        self._scheduler = scheduler

    def count(self, context: int, script_call: int, *, line: int | None) -> int | None:
        """Counts a call of any sort; None when it was one too many, and has been rejected (CONTRACT L03)."""
        number = self._scheduler.count_call()
        if number is None:
            message = f"a run makes at most {self._scheduler.max_calls:,} calls: split the work over several runs"
            self._state.book.warn_once("calls", message)
            self._state.book.refused(
                (context, script_call), cause="cap", label="", message=message, line=line, remedy=None
            )
            self._state.reject(context, script_call, "AgentCapError", message)
        return number

    def refuse(self, called: AgentCalled, asked: Asked, phases: Sequence[str]) -> bool:
        """Whether the cap on agents or a budget refuses a call; then it has been answered (CONTRACT L01, G03)."""
        state, ref = self._state, (called.context, called.call)
        if self._scheduler.is_full:
            cap = self._scheduler.max_agents
            message = f"the run may have {cap:,} agents and has had them: raise it with --max-agents"
            remedy = f"--max-agents {2 * cap}"
            state.book.refused(ref, cause="cap", label=asked.label, message=message, line=called.line, remedy=remedy)
            state.reject(*ref, "AgentCapError", message)
            return True
        refusal = self.spent(phases)
        if refusal is None:
            return False
        remedy = state.ledger.remedy(phases)
        state.book.refused(
            ref, cause="over_budget", label=asked.label, message=refusal, line=called.line, remedy=remedy
        )
        if wants_settle(called.options):
            value = settled("over_budget", "null", error=refusal, usage=Usage(), agent_id=None)
            state.answer(ResolveCall(context=called.context, call=called.call, value_json=value))
        else:
            state.reject(*ref, "BudgetExceededError", refusal)
        return True

    def spent(self, phases: Sequence[str]) -> str | None:
        """Why no agent may start in these phases, None where one may; the script then sees the run's as spent, too."""
        ledger = self._state.ledger
        if ledger.refusal() is not None:
            ledger.show_all()
        return ledger.refusal(phases)
