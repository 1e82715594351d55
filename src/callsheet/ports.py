"""The verbs, as Protocols. Rooms implement them, `app` introduces them to each other; nobody else names a class."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from callsheet.errors import BackendUnavailableError, CheckpointError
from callsheet.model.approval import Answer, PersonsVerdict, Question
from callsheet.model.call import AgentTask, AgentType, WorkspaceRef
from callsheet.model.confinement import CommandLine, CommandProfile, ConfinedLine, ConfinementName, Coverage
from callsheet.model.events import ApprovalAsked, CheckpointRestored, CheckpointTaken, Event
from callsheet.model.outcome import AgentOutcome, AgentWorktree, CancelReason
from callsheet.model.records import Row
from callsheet.model.reports import AgentReport, ToolCalled
from callsheet.model.run import ChangedFile
from callsheet.model.sandbox import (
    Clock,
    Confinement,
    Delivery,
    SandboxLimits,
    ScriptMessage,
    SyntaxFault,
)
from callsheet.model.script import Script
from callsheet.model.spending import Budget, Grant, Need


class ScriptSession(Protocol):
    """One child process that runs the scripts of one run. Deliveries in, messages out.

    After every delivery the child runs until nothing is ready and says `Idle`; the next delivery waits for that.
    """

    async def ready(self) -> Confinement:
        """Waits until the child is up and holds itself; says what holds it. Later calls answer at once.

        Raises:
            SandboxError: It did not come up, or required confinement is not to be had.
        """
        ...

    async def compile(self, body: str) -> SyntaxFault | None:
        """Judges the syntax of `Script.body`; runs nothing of it (CONTRACT S06).

        Raises:
            SandboxError: The child failed.
        """
        ...

    async def deliver(self, delivery: Delivery, clock: Clock) -> None:
        """Hands the child one delivery. Returns when it is written, not when it has been worked off.

        Cancelling may leave the frame half written: the session can then only be closed.

        Raises:
            SandboxError: The child is dead or over a limit.
            SandboxClosedError: The session was closed.
        """
        ...

    async def receive(self) -> Sequence[ScriptMessage]:
        """The next messages of the child, at least one. Safe to cancel: nothing is lost.

        Not calling it stops the reading, and so, once the pipe is full, the child (CONTRACT L03).

        Raises:
            SandboxError: The child is dead, silent, over a limit, flooding, or sent rubbish. Every later call raises
                the same.
            SandboxClosedError: The session was closed.
        """
        ...


class ScriptHost(Protocol):
    """Opens sandboxes."""

    def open(self, limits: SandboxLimits) -> AbstractAsyncContextManager[ScriptSession]:
        """Starts a child; entering returns once it is started, `ready()` waits until it is up.

        Leaving the context ends it in stages, every wait bounded; no process is left, whatever happened before.

        Raises:
            SandboxError: The system would not start a process.
        """
        ...


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


class WorkPlace(Protocol):
    """A worktree, for one task."""

    @property
    def workspace(self) -> WorkspaceRef:
        """Where the agent works, instead of the workspace that its task names."""
        ...

    @property
    def kept(self) -> AgentWorktree | None:
        """What is known by now of changes that were kept; None where there are none."""
        ...

    async def settle(self, outcome: AgentOutcome) -> AgentOutcome:
        """Keeps what the agent changed and, where its call says `merge` and it ended `ok`, merges it (CONTRACT A16).

        To be called when the agent has ended, before the place is left. Gives the outcome with what became of the
        changes; `conflict` where they cannot be merged. Whatever goes wrong, no change is lost.
        """
        ...


class Workspaces(Protocol):
    """Makes worktrees for the tasks that ask for one (CONTRACT A07, A16)."""

    def open(self, task: AgentTask, reporter: AgentReporter) -> AbstractAsyncContextManager[WorkPlace]:
        """A place for a task; entering waits while another has the worktree of that name.

        Leaving keeps what was changed, also when the agent was cancelled; every wait then is bounded.

        Raises:
            WorktreeError: There can be no worktree; says why.
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


class Store(Protocol):
    """The record: on disk first, then seen (DESIGN 8)."""

    @property
    def path(self) -> str:
        """Where the record lies."""
        ...

    async def write(self, rows: Sequence[Row], *, durable: bool) -> None:
        """Writes rows in order, all or none.

        Args:
            rows: One transaction's worth.
            durable: True returns when they are fsync'd; writes that arrive together are committed together. False
                returns when they are queued, and waits while the queue is full.

        Cancelling the wait does not take the rows back.

        Raises:
            StoreError: The disk is full, the file is damaged or not writable. Every later write raises the same.
        """
        ...

    async def aclose(self) -> None:
        """Writes what is queued and closes. Idempotent.

        Raises:
            StoreError: What was queued could not be written.
        """
        ...


class WorkflowLibrary(Protocol):
    """Finds scripts and agent types by name (FORMATS 6)."""

    def workflow(self, name: str) -> Script:
        """A saved workflow by `meta.name`, or by its file's stem where that is unique.

        Raises:
            NotFoundError: No such name; lists the names there are.
            ScriptRefusedError: The file is there and is refused.
        """
        ...

    def workflow_at(self, script_path: str, *, relative_to: str | None) -> Script:
        """A script by path, for `workflow({scriptPath})` (CONTRACT W01).

        Args:
            script_path: Relative to the workspace or to the folder of the calling script.
            relative_to: Absolute path of the calling script, None where it has none.

        Raises:
            NotFoundError: No such file, or outside the workspace and the workflow folders, or not `.js`/`.mjs`.
            ScriptRefusedError: The file is there and is refused.
        """
        ...

    def agent_type(self, name: str) -> AgentType:
        """An agent type by name.

        Raises:
            NotFoundError: No such name; lists the names there are.
        """
        ...


class DraftGate(Protocol):
    """What a run has that takes scripts as text (CONTRACT W03): reads them, and tells a person what they would do."""

    def read(self, text: str) -> Script:
        """The script in a text.

        Raises:
            ScriptRefusedError: It is none.
        """
        ...

    async def foreseen(self, script: Script, *, args_json: str | None, left: Budget) -> Sequence[str]:
        """What a script would do, in lines for a person who is to approve it; bounded in time. Touches nothing.

        Args:
            script: It was compiled, and no more is known of it.
            args_json: JSON text of its `args`; None for `undefined`.
            left: What is left of the run's budget.

        Raises:
            CallsheetError: It would not run; nobody is asked about it.
        """
        ...


class CheckpointTaker(Protocol):
    """Keeps the state of the workspace, so that there is a way back to it."""

    async def take(self) -> CheckpointTaken:
        """Keeps it as it is now. Agents may be at work.

        Raises:
            CheckpointError: It could not be kept; says why.
        """
        ...

    async def changed(self) -> Sequence[ChangedFile]:
        """What is other in the last one than in the first, by path, whoever changed it.

        Raises:
            CheckpointError: That cannot be told.
        """
        return ()

    async def before_change(self, task: AgentTask, call: ToolCalled) -> None:
        """An agent is about to do what may change something: how that was is kept. Returns when it may go on.

        One that does not say otherwise keeps nothing of single agents.

        Raises:
            CheckpointError: It could not be kept: this change will not be taken back by itself.
        """
        return

    async def after_change(self, task: AgentTask, call: ToolCalled) -> None:
        """The agent has done it, or not. Raises as `before_change`."""
        return

    async def ended(self, task: AgentTask, outcome: AgentOutcome) -> None:
        """The agent has ended. Raises as `before_change`."""
        return

    async def take_back(self, task: AgentTask, paths: Sequence[str]) -> CheckpointRestored:
        """Takes back what an agent that has ended changed in these files. Others may be at work.

        A file that somebody else changed since, or whose earlier state is not known, is left, and why.

        Raises:
            CheckpointError: Nothing was taken back.
        """
        raise CheckpointError("changes of single agents are not kept here")


class RunControls(Protocol):
    """What people can do to a run that goes on, from this process or, over its control socket, from another.

    `by` says who, in events, log and record. What has been done is not done twice: it then gives False.

    Raises:
        NotFoundError: The run has no such agent or question; says which there are.
        ControlRefusedError: It cannot be done (any more); says why.
    """

    @property
    def run_id(self) -> str:
        """The run's name."""
        ...

    def events(self, after: int = 0) -> AsyncGenerator[Event]:
        """Its events with a greater `seq` than given, in order; ends after `run.finished`."""
        ...

    async def stop(self) -> None:
        """Ends the run as Ctrl-C does; returns when its record is closed."""
        ...

    async def pause(self, *, by: str = ...) -> bool:
        """Starts no further agent until `go_on`."""
        ...

    async def go_on(self, *, by: str = ...) -> bool:
        """Starts agents again after `pause`."""
        ...

    async def skip(self, agent_id: str, *, by: str = ...) -> bool:
        """Ends an agent as `skipped`."""
        ...

    async def stop_agent(self, agent_id: str, *, by: str = ...) -> bool:
        """Ends an agent as `cancelled`."""
        ...

    async def restart(self, agent_id: str, *, by: str = ...) -> bool:
        """Starts an agent's call over."""
        ...

    async def message(self, agent_id: str, text: str, *, by: str = ...) -> None:
        """Sends a message to an agent."""
        ...

    def questions(self) -> Sequence[ApprovalAsked]:
        """The questions that wait for a person's answer now."""
        ...

    async def answer(
        self, question_id: str, verdict: PersonsVerdict, *, words: str | None = None, by: str = ...
    ) -> None:
        """Answers one of them."""
        ...


class EventSink(Protocol):
    """A surface, or anything else that follows a run."""

    def on_event(self, event: Event) -> None:
        """Takes one event. Must return at once: it is called on the engine's loop, in order of `seq`."""
        ...


class CommandConfinement(Protocol):
    """What holds the programs that agents start (DESIGN 10). `model.sandbox.Confinement` is what holds a script."""

    @property
    def name(self) -> ConfinementName:
        """The name in `callsheet doctor` and `run.started`."""
        ...

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What it covers on this machine, one row for every area."""
        ...

    def open(self, line: CommandLine, profile: CommandProfile) -> AbstractAsyncContextManager[ConfinedLine]:
        """Makes ready what the command needs (filters, proxy); leaving takes it away, whatever became of the command.

        The command is started by the caller, within the context, and must have ended before it is left.

        Raises:
            ConfinementError: This confinement cannot hold the profile; names what to change. Nothing was started.
        """
        ...
