"""One run, opened, followed, stopped: the door of the engine."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import anyio

from callsheet.engine.admission import Admission, CheckSchema
from callsheet.engine.approvals import Approvals
from callsheet.engine.beginning import RULES_VERSION, new_state, open_record
from callsheet.engine.checkpointing import Checkpointing
from callsheet.engine.conductor import Conductor, Finish, SyntaxFinding
from callsheet.engine.control import PERSON, Control
from callsheet.engine.desk import Desk
from callsheet.engine.drafts import Drafts
from callsheet.engine.effects import MarkFiles, Restore, cannot_restore, no_marks
from callsheet.engine.ending import StopReason, left, stopped
from callsheet.engine.listener import Listener
from callsheet.engine.nested import NestedWorkflows
from callsheet.engine.reporter import ProgressMeter
from callsheet.engine.scheduler import Scheduler
from callsheet.engine.simulation import Simulation
from callsheet.engine.state import RunRequest, RunState
from callsheet.errors import ConfigError
from callsheet.groups import lone_error
from callsheet.model.approval import OnGrant, PersonsVerdict, cannot_keep
from callsheet.model.events import ApprovalAsked, Event
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.ports import (
    Approver,
    CheckpointTaker,
    DraftGate,
    EventSink,
    Executor,
    RunControls,
    ScriptSession,
    Store,
    WorkflowLibrary,
)

__all__ = ["RULES_VERSION", "Run", "RunRequest", "open_run"]


class Run(RunControls):
    """A run under way, and afterwards."""

    def __init__(self, state: RunState, conductor: Conductor, control: Control) -> None:
        self._state = state
        self._conductor = conductor
        self._control = control

    @property
    def run_id(self) -> str:
        """The run's name in record, events and results."""
        return self._state.run_id

    def events(self, after: int = 0) -> AsyncGenerator[Event]:
        """All events of the run, from the first one to `run.finished`, for any number of followers.

        A follower never slows the run. One that comes late, or cannot keep up, misses older `agent.progress` and
        `agent.waiting` events once there are more than 10,000 of them, and nothing else. Of a resumed run those of
        earlier attempts are in the record alone.

        Args:
            after: Only those with a greater `seq`.
        """
        return self._state.bus.follow(after)

    async def result(self) -> RunResult:
        """Waits for the end and says how it was; cancelling the wait leaves the run alone.

        Raises:
            RuntimeError: The engine itself broke; the cause is raised where the run was opened.
        """
        await self._conductor.ended.wait()
        if self._conductor.result is None:
            raise RuntimeError(f"run {self.run_id} has no result: the engine broke, see the error of its context")
        return self._conductor.result

    async def stop(self, reason: StopReason = "person") -> None:
        """Ends the run, and returns when its record is closed, within 5 s. Idempotent.

        No new agent starts, those under way are cancelled with their conversations kept.

        Args:
            reason: `person` for status cancelled; `stopped`, by the system, for interrupted.
        """
        self._state.end(stopped(reason, self.run_id))
        await self._conductor.ended.wait()

    # --- one agent, and pausing: from any task of the loop; `by` says who, in events, log and record -----------------

    async def message(self, agent_id: str, text: str, *, by: str = PERSON) -> None:
        """Sends a message to an agent; it takes it with the next turn of its conversation, marked as a person's.

        An agent that waits has it when it starts. One whose model has just ended its turn goes on with the message,
        where that comes before its outcome. Events `agent.controlled`: `message`, and `message_taken`. Cancelling may
        leave it sent.

        Raises:
            NotFoundError: The run has no such agent; says which there are.
            ControlRefusedError: The agent is over; its backend takes no messages (`scripted`); the run is over.
            UsageError: The text is empty, or too large.
        """
        await self._control.message(agent_id, text, by=by)

    async def skip(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Skips an agent, waiting or at work: it ends `skipped` and its call gives null (CONTRACT A05, A17).

        Returns at once; `agent.finished` follows within 3 s. The conversation stays in the record, the run is degraded.
        False where it was skipped already.

        Raises:
            NotFoundError: The run has no such agent; says which there are.
            ControlRefusedError: The agent is over otherwise, or the run is.
        """
        return await self._control.skip(agent_id, by=by)

    async def stop_agent(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Stops an agent: it ends `cancelled`. In all else as `skip` (CONTRACT A17)."""
        return await self._control.stop(agent_id, by=by)

    async def restart(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Cancels what an agent at work has done so far, and has it start the same call over.

        What all attempts used is counted, `attempts` too; messages it had not taken go to the new attempt, changes of
        files stay. False where it is being started over already.

        Raises:
            NotFoundError: The run has no such agent; says which there are.
            ControlRefusedError: The agent has not started or is over; the run is over, or may start no more agents.
        """
        return await self._control.restart(agent_id, by=by)

    async def pause(self, *, by: str = PERSON) -> bool:
        """Starts no further agent until `go_on`; those at work go on. Event `run.status`, `paused`.

        False where the run is paused already.

        Raises:
            ControlRefusedError: The run is over, or ending.
        """
        return await self._control.pause(by=by)

    async def go_on(self, *, by: str = PERSON) -> bool:
        """Lets agents start again after `pause`. Event `run.status`, `running`. False where the run is not paused.

        Raises:
            ControlRefusedError: The run is over, or ending.
        """
        return await self._control.go_on(by=by)

    # --- what a person is asked -------------------------------------------------------------------------------------

    def questions(self) -> tuple[ApprovalAsked, ...]:
        """The questions that wait for a person's answer now, oldest first."""
        return self._control.questions()

    async def answer(
        self,
        question_id: str,
        verdict: PersonsVerdict,
        *,
        words: str | None = None,
        more_usd: float | None = None,
        by: str = PERSON,
    ) -> None:
        """Answers a question, whoever else it was put to: there it is taken away. Event `approval.answered`.

        Args:
            question_id: As `approval.asked` names it.
            verdict: Once, for the run, for the project, or not at all; where no rule can allow it, once is all it can.
            words: For the agent, or the author of a script, with a denial.
            more_usd: With `once` to a question of kind `cost`: so many dollars more; None for as many as it names.
            by: Who answers.

        Raises:
            NotFoundError: No such question is open; says which are.
            ControlRefusedError: Somebody else answered it a moment ago; or the run is over, or ending.
            UsageError: `more_usd` is no amount, or answers nothing that is asked.
        """
        await self._control.answer(question_id, verdict, words=words, more_usd=more_usd, by=by)


@asynccontextmanager
async def open_run(
    request: RunRequest,
    *,
    session: ScriptSession,
    executor: Executor,
    store: Store,
    library: WorkflowLibrary,
    backends: Collection[str],
    check_schema: CheckSchema,
    syntax_finding: SyntaxFinding,
    redact_text: Callable[[str], str],
    redact_json: Callable[[JsonValue], JsonValue],
    sinks: Sequence[EventSink] = (),
    approver: Approver | None = None,
    on_grant: OnGrant = cannot_keep,
    finish: Finish | None = None,
    mark_files: MarkFiles = no_marks,
    checkpoints: CheckpointTaker | None = None,
    restore: Restore = cannot_restore,
    simulation: Simulation | None = None,
    gate: DraftGate | None = None,
) -> AsyncIterator[Run]:
    """Opens a run: entering it has the script compiled, then it goes on by itself.

    Leaving the context before the end cancels the run and closes its record, within 5 s. Session, executor and store
    are the caller's to close.

    Args:
        request: What to run, and how.
        session: The sandbox that the script runs in, of this run only.
        executor: Where its agents work.
        store: Where its record goes.
        library: Where its nested workflows and agent types are found.
        backends: The names that calls may use (CONTRACT A14).
        check_schema: Raises SchemaUnusableError for a schema that no answer may be asked in (CONTRACT A04).
        syntax_finding: Words the engine's refusal of a body.
        redact_text: Replaces secrets in a text that goes out (FORMATS 4).
        redact_json: Replaces secrets in the run's result.
        sinks: Surfaces, called on the engine's loop in order of `seq`.
        approver: Who is asked what agents may not do by themselves; None for nobody: it is denied.
        on_grant: Makes rules hold that were granted for the run or the project.
        finish: Called with the result when no agent is at work any more, before it is recorded and shown; gives it
            back with what the caller has to add. Bounded by itself, raises nothing.
        mark_files: Says what files look like that an agent has read or changed, for a later resume (CONTRACT R03).
        checkpoints: Takes those of the workspace; None for none.
        restore: Puts back what a recorded agent had changed and is gone, where it can be (CONTRACT R03).
        simulation: Of a rehearsal: its time holds instead of the machine's, and it is the executor.
        gate: Lets `workflow({script})` take texts, and has nested scripts approved by a person (CONTRACT W03); None: it
            is refused, and saved ones run unasked.

    Raises:
        ScriptRefusedError: The engine refuses the script; nothing has run and nothing is recorded.
        ConfigError: A limit of the settings is out of range.
    """
    settings = request.settings
    checkpointing = Checkpointing(
        checkpoints, interval=settings.checkpoint_interval, on_failure=settings.rollback_on_failure
    )
    state = new_state(
        request,
        store=store,
        sinks=sinks,
        redact_text=redact_text,
        checkpointing=checkpointing,
        elapsed_s=time.monotonic if simulation is None else simulation.elapsed_s,
    )
    state.replay.effects.restore = restore
    if simulation is not None:
        simulation.on_arrival = state.wake.set
    try:
        scheduler = Scheduler(max_parallel=settings.max_parallel, max_agents=settings.max_agents)
    except ValueError as error:
        raise ConfigError(f"{error}.") from None
    admission = Admission(
        workspace=request.workspace,
        settings=settings,
        backends=backends,
        library=library,
        check_schema=check_schema,
    )
    meter = ProgressMeter(state)
    approvals = Approvals(state, approver=approver, on_grant=on_grant)
    desk = Desk(
        state,
        admission=admission,
        scheduler=scheduler,
        executor=executor,
        meter=meter,
        approvals=approvals,
        mark_files=mark_files,
    )
    drafts = None if gate is None else Drafts(state, gate=gate, approvals=approvals)
    nested = NestedWorkflows(state, library, drafts=drafts)
    listener = Listener(state, desk=desk, nested=nested, redact_json=redact_json)
    conductor = Conductor(
        state,
        session=session,
        desk=desk,
        nested=nested,
        listener=listener,
        meter=meter,
        syntax_finding=syntax_finding,
        finish=finish,
        simulation=simulation,
    )
    confinement = await conductor.compile()
    await open_record(state, confinement)
    run = Run(state, conductor, Control(state, desk=desk, executor=executor, approvals=approvals))
    with lone_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(conductor.conduct)
            try:
                yield run
            finally:
                state.end(left())
                with anyio.CancelScope(shield=True):
                    await conductor.ended.wait()
