"""How an agent ends: the limits of its own, and its outcome."""

from __future__ import annotations

from anthropic.types.beta import BetaMessage

from callsheet.agents.anthropic.ledger import Ledger
from callsheet.agents.anthropic.terms import Terms
from callsheet.agents.anthropic.toolbox import AnswerTool
from callsheet.agents.tools.workbench import Workbench
from callsheet.model.outcome import AgentOutcome, AgentStatus
from callsheet.model.values import JsonValue


class Ending:
    """Makes the outcome of one agent from what it has used and done by then."""

    def __init__(self, terms: Terms, *, ledger: Ledger, workbench: Workbench, answer: AnswerTool | None) -> None:
        self._terms = terms
        self._ledger = ledger
        self._workbench = workbench
        self._answer = answer

    def limit(self, turns: int, last_text: str) -> AgentOutcome | None:
        """The outcome where the agent has had all its turns; budgets are held at each request.

        Args:
            turns: How many it has taken.
            last_text: What it last said.
        """
        if turns >= self._terms.max_turns:
            said = f"; it last said: {last_text[:200]}" if last_text else ""
            return self.outcome("failed", error=f"the agent was not done after {turns} turns (maxTurns){said}")
        return None

    def refused(self, reply: BetaMessage) -> AgentOutcome:
        """The outcome where the model refused the task, with what it says of the reason."""
        details = reply.stop_details
        category = f" ({details.category})" if details and details.category else ""
        explanation = f": {details.explanation}" if details and details.explanation else ""
        return self.outcome("failed", error=f"the model refused the task{category}{explanation}")

    def outcome(self, status: AgentStatus, *, value: JsonValue = None, error: str | None = None) -> AgentOutcome:
        """The agent's outcome if it ends now."""
        return AgentOutcome(
            status=status,
            value=value,
            error=error,
            usage=self._ledger.total,
            attempts=max(1, self._answer.attempts) if self._answer else 1,
            judged=self._answer.judged if self._answer else 0,
            model=self._ledger.model or self._terms.model,
            mode=self._ledger.mode,
            files_read=tuple(sorted(self._workbench.files_read)),
            files_changed=tuple(sorted(self._workbench.files_changed)),
            tools_called=tuple(self._workbench.calls.names),
        )
