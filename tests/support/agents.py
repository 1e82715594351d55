"""A task, a reporter and a clock for tests of agents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from callsheet.agents.timing import Timing
from callsheet.engine.budget import Ledger, Refusal, Short
from callsheet.errors import BackendUnavailableError, OverBudgetError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask, AgentType, CallOptions, Effort, WorkspaceRef
from callsheet.model.outcome import Usage
from callsheet.model.reports import AgentReport, MessageAdded
from callsheet.model.spending import Budget, Grant, Need, Paid
from callsheet.ports import AgentReporter

Report = TypeVar("Report", bound=AgentReport)

GENERAL = AgentType(name="general-purpose", description="Does what is asked.")


def agent_task(
    root: Path,
    prompt: str = "Do it",
    *,
    label: str = "worker",
    kind: AgentType = GENERAL,
    model: str | None = None,
    effort: Effort | None = None,
    max_turns: int = 20,
    cwd: str = ".",
    agent_id: str = "a0001",
    **options: Any,
) -> AgentTask:
    """A task in the workspace `root`; further arguments are the call's options."""
    return AgentTask(
        run_id="run_1",
        agent_id=agent_id,
        call=1,
        key="key",
        occurrence=1,
        prompt=prompt,
        label=label,
        phase=None,
        workflow=None,
        options=CallOptions(**options),
        agent_type=kind,
        model=model,
        effort=effort,
        backend="anthropic",
        workspace=WorkspaceRef(root=str(root), cwd=cwd),
        max_turns=max_turns,
        run_date="2026-11-21T08:00:00.000Z",
    )


class RecordingReporter(AgentReporter):
    """Keeps every report in order, and gives the answers it was given to questions; then nobody answers.

    Attributes:
        ledger, account: What a run has of them; `budget` is the agent's own, `run_budget` the run's.
        needs: What it asked to spend; `paid`: what that came to.
    """

    def __init__(self, *answers: Answer, budget: Budget | None = None, run_budget: Budget | None = None) -> None:
        run = run_budget or Budget()
        self.ledger = Ledger(tokens=run.tokens, usd=run.usd, cost_stop_usd=25)
        self.account = self.ledger.open_account(own=budget)
        self.needs: list[Need] = []
        self.paid: list[Usage] = []
        self.reports: list[AgentReport] = []
        self.questions: list[Question] = []
        self._answers = iter(answers)
        self.held: list[BackendUnavailableError] = []
        self._reported = anyio.Event()

    @property
    def counts_usd(self) -> bool:
        return any(scope.usd is not None for scope in self.account.scopes)

    async def reserve(self, need: Need) -> Grant:
        self.needs.append(need)
        decision = self.ledger.reserve(self.account, need)
        match decision:
            case Grant():
                return decision
            case Refusal():
                raise OverBudgetError(decision.says, status="failed" if decision.is_unpriced else "over_budget")
            case Short():
                raise AssertionError("one agent alone waits for nobody")

    async def report(self, report: AgentReport) -> None:
        self.reports.append(report)
        paid = report.paid if isinstance(report, MessageAdded) else report
        if isinstance(paid, Paid):
            self.paid.append(paid.usage)
            self.ledger.settle(self.account, paid)
        self._reported.set()
        self._reported = anyio.Event()

    async def ask(self, question: Question) -> Answer:
        self.questions.append(question)
        return next(self._answers, Answer(verdict="unanswered"))

    async def hold(self, error: BackendUnavailableError) -> None:
        self.held.append(error)
        raise error

    async def until(self, condition: Callable[[AgentReport], bool]) -> None:
        """Waits for a report that fulfils `condition`; one that came already counts."""
        while not any(condition(report) for report in self.reports):
            await self._reported.wait()

    def of(self, kind: type[Report]) -> list[Report]:
        return [report for report in self.reports if isinstance(report, kind)]

    @property
    def messages(self) -> list[Any]:
        """The payloads of the conversation so far."""
        return [report.payload for report in self.of(MessageAdded)]


@dataclass
class FakeTime:
    """A clock that goes on by being slept on, and by `step_s` when it is read; sleeping takes no time."""

    slept_s: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0
    step_s: float = 0.0

    def monotonic(self) -> float:
        self.elapsed_s += self.step_s
        return self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.elapsed_s += seconds
        await checkpoint()

    async def wait(self, event: anyio.Event, seconds: float | None) -> None:
        if seconds is None:
            await event.wait()
        elif not event.is_set():
            await self.sleep(seconds)

    @property
    def timing(self) -> Timing:
        start = datetime(2026, 11, 21, 8, tzinfo=UTC)
        return Timing(
            sleep=self.sleep,
            wait=self.wait,
            monotonic=self.monotonic,
            now=lambda: start + timedelta(seconds=self.elapsed_s),
            chance=lambda: 0.0,
        )
