"""The loop of a run: one delivery, all that the script says to it, the next delivery.

The script is a pure function of what is delivered: everything that can happen outside it waits in one queue, and
nothing is handed in before the last turn is over (CONTRACT D04, R08).

What comes next is, in this order: what follows from the script alone, at the time it sees already; what it waits for
and got in an earlier attempt, in the order of then; and only when there is nothing of either, what comes from outside
now, in the order in which it came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import assert_never

import anyio

from callsheet.bulk import in_bulk
from callsheet.engine import ending as endings
from callsheet.engine.desks import CallDesk
from callsheet.engine.ending import Ending
from callsheet.engine.identity import context_seed
from callsheet.engine.listener import Listener
from callsheet.engine.nested import NestedWorkflows
from callsheet.engine.replay import Recorded, Replayed, ReplayedTimer
from callsheet.engine.reporter import ProgressMeter
from callsheet.engine.result import end_row, not_recorded, run_result
from callsheet.engine.simulation import Simulation
from callsheet.engine.state import Answered, NestedEnd, NestedStart, Own, RunState, Settled
from callsheet.engine.timers import Armed
from callsheet.engine.turns import Turns
from callsheet.errors import CallsheetError, SandboxError, ScriptRefusedError, StoreError
from callsheet.model.events import RunFinished
from callsheet.model.past import Seen
from callsheet.model.records import DeliveredRow, TimerRow
from callsheet.model.run import RunResult
from callsheet.model.sandbox import (
    Confinement,
    Delivery,
    FireTimer,
    ScriptMessage,
    StartScript,
    SyntaxFault,
    WorkflowCalled,
)
from callsheet.model.script import Finding, Script
from callsheet.ports import ScriptSession

AGENTS_WAIT_S = 3.0
ABANDON_WAIT_S = 0.5
HASTY_CLOSE_WAIT_S = 1.0
CHECKPOINT_WAIT_S = 30.0
HASTY_CHECKPOINT_WAIT_S = 3.0
CLOSE_WAIT_S = 10.0
"""With these a run that is stopped is over within 5 s; one whose script returned gives a slow disk more time."""

SyntaxFinding = Callable[[Script, SyntaxFault], Finding]
Finish = Callable[[RunResult], Awaitable[RunResult]]


class Conductor:
    """Runs one script to its end, and the run to its record.

    Attributes:
        result: How the run ended; None before, and after a fault of the engine's own.
        ended: Set when nothing of the run goes on any more.
    """

    def __init__(
        self,
        state: RunState,
        *,
        session: ScriptSession,
        desk: CallDesk,
        nested: NestedWorkflows,
        listener: Listener,
        meter: ProgressMeter,
        syntax_finding: SyntaxFinding,
        finish: Finish | None = None,
        simulation: Simulation | None = None,
    ) -> None:
        self._state = state
        self._simulation = simulation
        self._session = session
        self._desk = desk
        self._nested = nested
        self._listener = listener
        self._meter = meter
        self._syntax_finding = syntax_finding
        self._finish = finish
        self._performing = anyio.CancelScope()
        self._unread: list[ScriptMessage] = []
        self._turns = Turns(state, session, is_open=listener.is_open)
        self._child_error: SandboxError | None = None
        self._delivered = state.replay.last_seq
        self.result: RunResult | None = None
        self.ended = anyio.Event()
        state.on_end = self._on_end

    # --- before the start -------------------------------------------------------------------------------------------

    async def compile(self) -> Confinement:
        """Waits for the sandbox and has the script's syntax judged; nothing of it has run, nothing is recorded.

        A sandbox that fails here ends the run, as it would later.

        Raises:
            ScriptRefusedError: The engine refuses the script (CONTRACT S06).
        """
        try:
            confinement = await self._session.ready()
            await self._compile(self._state.request.script)
        except SandboxError as error:
            self._child_error = error
            return Confinement(system_calls=False, detail="the sandbox did not start")
        return confinement

    async def _compile(self, script: Script) -> None:
        fault = await self._session.compile(script.body)
        if fault is not None:
            raise ScriptRefusedError((self._syntax_finding(script, fault),), workflow=script.meta.name)

    # --- the whole --------------------------------------------------------------------------------------------------

    async def conduct(self) -> None:
        """Runs the script and closes the record. Only an ending stops it: whoever cancels must decide one.

        Raises:
            BaseException: A fault of the engine's own, alone, never a group.
        """
        try:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as workers:
                    self._desk.employ(workers)
                    workers.start_soon(self._meter.run)
                    with self._performing:
                        workers.start_soon(self._state.checkpointing.run, self._state)
                        await self._perform()
                    self.result = await self._close(self._ending)
                    workers.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._state.bus.close()
            self.ended.set()

    @property
    def _ending(self) -> Ending:
        ending = self._state.ending
        assert ending is not None
        return ending

    def _on_end(self, ending: Ending) -> None:
        self._desk.close(ending.reason)
        self._performing.cancel()

    async def _perform(self) -> None:
        state, request = self._state, self._state.request
        try:
            if self._child_error is not None:
                raise self._child_error
            if state.ending is None:
                await self._start(0, request.script, request.args_json)
                self._look_past_the_record()
            while state.ending is None:
                if self._listener.verdict is not None:
                    state.end(self._listener.verdict)
                elif (due := self._next()) is not None:
                    await self._deliver(due)
                    self._look_past_the_record()
                elif self._is_stuck():
                    state.end(state.draining or endings.stalled())
                else:
                    await self._wait()
        except SandboxError as error:
            state.end(endings.sandbox_failed(error))

    # --- what comes next --------------------------------------------------------------------------------------------

    def _next(self) -> Own | Recorded | Settled | Armed | None:
        """What is delivered next, None while there is nothing; of what comes from outside what was ready first."""
        state, timers = self._state, self._listener.timers
        if self._turns.is_ahead:  # the script has it already
            return state.replay.next(timers)
        if not state.may_deliver:
            return None
        if state.own:
            return state.own.popleft()
        if (recorded := state.replay.next(timers)) is not None:
            return recorded
        first = state.queue[0] if state.queue else None
        armed = timers.next()
        due_ms = state.clock.script_ms() if first is None else first.ready_ms
        if armed is not None and armed.due_ms <= due_ms:
            return armed
        return state.queue.popleft() if first is not None else None

    def _look_past_the_record(self) -> None:
        """Lets agents start once the script waits for nothing that is on record, and its clock run on."""
        state, replay = self._state, self._state.replay
        if replay.is_resumed and not state.own and not replay.has_next(self._listener.timers):
            state.go_live()
            self._desk.pump()

    def _is_stuck(self) -> bool:
        """Whether waiting is in vain (CONTRACT O05)."""
        if self._state.draining is not None:
            return self._desk.begun == 0
        is_waiting = self._state.is_held or self._listener.timers or self._unread
        return self._desk.alive == 0 and not is_waiting

    async def _wait(self) -> None:
        """Waits until something can be delivered, and meanwhile for the child's death."""
        state = self._state
        armed = self._listener.timers.next() if state.may_deliver else None
        wait_s = None if armed is None else max(0, armed.due_ms - state.clock.script_ms()) / 1000
        if self._simulation is not None:
            if self._simulation.pass_time(begun=self._desk.begun, timer_s=wait_s):
                return
            wait_s = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            with anyio.move_on_after(wait_s):
                await state.wake.wait()
            tasks.cancel_scope.cancel()
        if self._child_error is not None:
            raise self._child_error
        await self._take(())

    async def _listen(self) -> None:
        """A script at rest says nothing; what comes all the same is kept, so that nothing is lost in a cancellation."""
        try:
            while True:
                self._unread.extend(await self._session.receive())
                self._state.wake.set()
        except SandboxError as error:
            self._child_error = error
            self._state.wake.set()

    # --- deliveries -------------------------------------------------------------------------------------------------

    async def _deliver(self, due: Own | Recorded | Settled | Armed) -> None:
        state, listener = self._state, self._listener
        match due:
            case Armed():
                await self._fire(due)
            case ReplayedTimer(armed=armed, seen=seen):
                self._show(seen)
                listener.timers.fire(armed)
                await self._turn(FireTimer(context=armed.context, timer=armed.timer))
            case Settled():
                state.ledger.show(due.usage)
                if listener.is_open(due.delivery.context):
                    self._tick(due.agent_id)
                    state.replay.effects.delivered(due.changed)
                    state.delivered(due.delivery)
                    await self._turn(due.delivery)
            case Replayed(seen=seen):
                if listener.is_open(due.delivery.context):
                    if seen is not None:
                        self._show(seen)
                    else:
                        state.go_live()
                        self._tick(due.agent_id)
                    state.delivered(due.delivery)
                    await self._turn(due.delivery, is_recorded=seen is not None)
            case Answered():
                if listener.is_open(due.delivery.context):
                    await self._turn(due.delivery)
            case NestedStart():
                await self._start_nested(due.called)
            case NestedEnd():
                await self._turn(due.delivery)
                self._nested.gone()
            case _:
                assert_never(due)

    async def _fire(self, armed: Armed) -> None:
        state, ledger = self._state, self._state.ledger
        self._listener.timers.fire(armed)
        self._delivered += 1
        state.turn = self._delivered
        state.bus.add(
            TimerRow(
                run_id=state.run_id,
                n=state.replay.last_timer + armed.n,
                delivered_seq=self._delivered,
                delivered_at=state.clock.move_on(),
                delay_ms=armed.delay_ms,
                spent_after=ledger.shown_tokens,
                cost_after=ledger.shown_usd,
            )
        )
        await self._turn(FireTimer(context=armed.context, timer=armed.timer))

    def _tick(self, agent_id: str) -> None:
        """Counts the delivery of an outcome, moves the script's clock to it, and records what the script sees."""
        state, ledger = self._state, self._state.ledger
        self._delivered += 1
        state.turn = self._delivered
        state.bus.add(
            DeliveredRow(
                run_id=state.run_id,
                agent_id=agent_id,
                delivered_seq=self._delivered,
                delivered_at=state.clock.move_on(),
                spent_after=ledger.shown_tokens,
                cost_after=ledger.shown_usd,
            )
        )

    def _show(self, seen: Seen) -> None:
        """Makes the world what the script saw at this point of an earlier attempt (CONTRACT R08)."""
        self._state.turn = seen.seq
        self._state.clock.show(seen.at_ms)
        self._state.ledger.show_seen(seen.spent_tokens, seen.spent_usd)

    async def _start(self, context: int, script: Script, args_json: str | None) -> None:
        settings = self._state.settings
        await self._turn(
            StartScript(
                context=context,
                body=script.body,
                meta=script.meta.value,
                args_json=args_json,
                seed=context_seed(self._state.seed, context),
                budget_tokens=settings.budget_tokens,
                budget_usd=settings.budget_usd,
            )
        )

    async def _start_nested(self, called: WorkflowCalled) -> None:
        try:
            script = await self._nested.load(called)
            await self._compile(script)
            is_admitted = await self._nested.is_admitted(script, called)
            if not is_admitted or self._state.draining is not None:
                return
        except SandboxError:
            raise
        except CallsheetError as error:
            self._nested.refused(called, error)
            return
        await self._start(self._nested.open(script, called), script, called.args_json)

    async def _turn(self, delivery: Delivery, *, is_recorded: bool = False) -> None:
        """Hands one delivery in and takes all that the script says to it, as it comes."""
        await self._turns.begin(delivery, is_recorded=is_recorded)
        is_over = False
        while not is_over:
            messages, is_over = await self._turns.hear()
            await self._take(messages)

    async def _take(self, messages: Sequence[ScriptMessage]) -> None:
        early, self._unread = self._unread, []
        for message in (*early, *messages):
            await self._listener.take(message)
        await self._state.bus.flush()

    # --- the end ----------------------------------------------------------------------------------------------------

    async def _close(self, ending: Ending) -> RunResult:
        """Waits for the agents that were cancelled, writes the end, shows it; every wait is bounded."""
        state, bus = self._state, self._state.bus
        with anyio.move_on_after(AGENTS_WAIT_S):
            await self._desk.quiet()
        with anyio.move_on_after(ABANDON_WAIT_S):
            await self._desk.abandon("cancelled: it did not end in time")
        self._listener.close()
        with anyio.move_on_after(CHECKPOINT_WAIT_S if ending.status == "returned" else HASTY_CHECKPOINT_WAIT_S):
            await state.checkpointing.take_last(state)
        self._desk.tell_strays()
        changes = None
        with anyio.move_on_after(CHECKPOINT_WAIT_S if ending.status == "returned" else HASTY_CLOSE_WAIT_S):
            changes = await state.checkpointing.changes(state)
        with in_bulk():
            result = replace(run_result(state, ending), changes=changes)
        if self._finish is not None:
            result = await self._finish(result)
        with in_bulk():
            last = bus.stage(RunFinished(result=result))
            rows = (end_row(result, ended_at=state.clock.stamp()), bus.row(last))
        try:
            with anyio.move_on_after(CLOSE_WAIT_S if ending.status == "returned" else HASTY_CLOSE_WAIT_S):
                await bus.write(rows)
        except StoreError as error:
            result = not_recorded(result, endings.store_failed(error, state.run_id))
            last.event = replace(last.event, body=RunFinished(result=result))
        bus.release_all()
        return result


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single exception of a group: what a caller is shown."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
