"""Who does the work of a call, what they report to, and who starts them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from callsheet.errors import BackendUnavailableError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask
from callsheet.model.outcome import AgentOutcome, CancelReason
from callsheet.model.reports import AgentReport
from callsheet.model.spending import Grant, Need


class AgentReporter(Protocol):
    """Where a working agent reports to."""

    async def report(self, report: AgentReport) -> None:
        """Takes one report. Returns once it is recorded as far as it must be (`ToolCalled` intents: on disk)."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Asks a person, where there is one, and waits for the answer; meanwhile another agent may have the slot.

        The wait is no sign of a stall and has a time limit of its own; without an answer it gives `unanswered`. Only a
        question with `is_rechecked` is ever answered `changed`.
        Cancelling takes back this agent's part of the question.
        """
        ...

    async def hold(self, error: BackendUnavailableError) -> None:
        """Waits with the whole run for a service that stays away (CONTRACT K05), the conversation kept.

        Returns when the agent should try again from where it is. Its `timeout` stands still meanwhile. An agent that
        cannot be held lets the error out of `AgentBackend.run` instead, and begins anew after the wait. A reporter that
        does not say otherwise waits for nothing.

        Raises:
            BackendUnavailableError: The one given: the run does not wait for it.
        """
        raise error

    async def take_messages(self, *, at_end: bool = False) -> Sequence[str]:
        """What people sent to this agent and it has not taken yet, in order; it reports each as `MessageAdded`.

        Asked by backends that take messages, before each request to the model.

        Args:
            at_end: The agent is about to end well. Where there is nothing to take, none is accepted from then on; else
                it goes on instead of ending.
        """
        return ()

    @property
    def counts_usd(self) -> bool:
        """Whether a budget in dollars holds for the agent, so that prices are needed before it asks for anything."""
        return False

    async def reserve(self, need: Need) -> Grant:
        """Sets aside what a request to a model may cost, before it is sent (CONTRACT G04).

        Returns when it may be sent, with the tokens that its reply may have: fewer than wanted where less is left. It
        waits where only other requests under way are in the way; the agent's `timeout` stands still meanwhile. Each
        grant is settled once, with `MessageAdded.paid` or `Paid`; one that is not counts as spent when the agent ends.
        A reporter that does not say otherwise has no budget. Cancelling gives it back.

        Raises:
            OverBudgetError: It does not fit; the agent ends as the error says.
            StoreError: It could not be recorded: the request must not be sent.
        """
        usd = None if need.fixed_usd is None or need.output_usd is None else need.fixed_usd
        return Grant(n=0, output_tokens=need.output_tokens, usd=usd)

    def aside(self) -> AbstractAsyncContextManager[None]:
        """Inside the block the agent waits for another: its place is free, its `timeout` stands still.

        Leaving it waits for a place again, unless it is left by an error or cancelled.
        """
        return nullcontext()


class Approver(Protocol):
    """A person, or who stands for one: a terminal, a dashboard, the program that started the run.

    One that can show only so many questions at a time may have an attribute `at_once` that says how many: others wait
    until it has room, and the time in which a question must be answered runs from when it is put to it.

    One that can say what a run may cost has an attribute `takes_cost` that is true: only then is it asked questions of
    kind `cost` (CONTRACT L04), so that one that allows whatever agents ask never spends money by that. In the same way
    one that says whether scripts run that nobody has seen has a `takes_scripts` that is true (kind `script`, W03).
    """

    async def answer(self, question: Question) -> Answer:
        """Answers one question. Several may be open at a time; each is asked once, however many agents ask it.

        Cancelled when the time is up, the run ends, or somebody else has answered: it then takes the question away.
        """
        ...


class AgentBackend(Protocol):
    """Who does the work: one kind of agent."""

    @property
    def name(self) -> str:
        """The name in settings, record and results: `anthropic`, `offline`, `scripted`."""
        ...

    def default_model(self) -> str | None:
        """The model used when neither call nor settings name one; None where there is no model."""
        ...

    @property
    def takes_messages(self) -> bool:
        """Whether its agents look for messages while they work (`AgentReporter.take_messages`)."""
        return False

    @property
    def takes_earlier(self) -> bool:
        """Whether it goes on with conversations (`AgentTask.earlier`); else its prompts tell what was said."""
        return False

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        """Does one call to its end.

        Failures of the agent's own are outcomes, not exceptions. On cancelling it ends what it started (processes,
        streams) within 2 s and lets the cancellation through.

        Raises:
            BackendUnavailableError: A failure that the next agent would meet too (CONTRACT K05), and for which the run
                does not wait (`AgentReporter.hold`), or could not, since the agent can only begin anew.
        """
        ...

    async def aclose(self) -> None:
        """Closes connections. Idempotent."""
        ...


class AgentHandle(Protocol):
    """A submitted task."""

    async def outcome(self) -> AgentOutcome:
        """Waits for the end. Cancelling this wait does not cancel the agent.

        Raises:
            BackendUnavailableError: As `AgentBackend.run`.
        """
        ...

    async def cancel(self, reason: CancelReason) -> None:
        """Ends the agent; its outcome is then `cancelled` (or what it became just before). Idempotent, bounded."""
        ...

    async def message(self, text: str) -> bool:
        """Lets the agent have a message with the next turn of its conversation, as a person's.

        False where it takes none (any more): its backend takes none, it is over, or has had its last word. One that is
        accepted is not taken where the agent ends before its next turn: at a limit of its own, or cancelled.
        """
        ...


class Executor(Protocol):
    """Where agents work: this process, or other machines (DESIGN 13)."""

    async def submit(self, task: AgentTask, reporter: AgentReporter) -> AgentHandle:
        """Starts a task; idempotent on run, agent id and attempt. Waits while the executor has no room.

        One that ended with BackendUnavailableError is started anew; what it had used counts with the new one's.
        """
        ...

    def takes_messages(self, backend: str) -> bool:
        """Whether agents of this backend take messages while they work."""
        return False

    async def aclose(self) -> None:
        """Cancels what is under way and closes the backends. Idempotent."""
        ...
