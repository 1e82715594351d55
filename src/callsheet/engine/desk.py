"""The calls of one run: accepted or refused, queued, worked off, recorded, and handed over to be delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from callsheet.bulk import in_bulk
from callsheet.engine.admission import Admission
from callsheet.engine.approvals import Approvals
from callsheet.engine.attempt import Attempt
from callsheet.engine.call import CANCELLED, Call, waiting_row
from callsheet.engine.cost_stop import CostStop
from callsheet.engine.effects import MarkFiles, known_files, no_marks
from callsheet.engine.forecast import Forecast
from callsheet.engine.intake import Intake
from callsheet.engine.limits import Limits
from callsheet.engine.notices import notice
from callsheet.engine.outage import Outage
from callsheet.engine.pauses import Pauses
from callsheet.engine.recorder import Recorder
from callsheet.engine.reporter import CallReporter, ProgressMeter
from callsheet.engine.reserving import Reservations
from callsheet.engine.scheduler import Scheduler
from callsheet.engine.settle import settlement
from callsheet.engine.state import RunState, Settled
from callsheet.errors import StoreError
from callsheet.model.events import AgentStarted
from callsheet.model.outcome import AgentOutcome, CancelReason
from callsheet.model.sandbox import AgentCalled
from callsheet.ports import Executor


class Desk:
    """Takes calls and sees them through. Its workers live in the task group that the conductor gives it.

    Attributes:
        limits: What refuses calls.
    """

    def __init__(
        self,
        state: RunState,
        *,
        admission: Admission,
        scheduler: Scheduler,
        executor: Executor,
        meter: ProgressMeter,
        approvals: Approvals,
        mark_files: MarkFiles = no_marks,
    ) -> None:
        self._state = state
        self._mark_files = mark_files
        self._scheduler = scheduler
        self._executor = executor
        self._meter = meter
        self._approvals = approvals
        self._pauses = Pauses(scheduler, self.pump)
        self._outage = Outage(state, resume=self.pump)
        self._recorder = Recorder(state, meter)
        self._reservations = Reservations(state)
        self.limits = Limits(state, scheduler)
        self._forecast = Forecast(state.ledger)
        self._intake = Intake(
            state, admission=admission, limits=self.limits, recorder=self._recorder, forecast=self._forecast
        )
        self._cost_stop = CostStop(
            state,
            approvals=approvals,
            scheduler=scheduler,
            forecast=self._forecast,
            unbegun=self._unbegun,
            resume=self.pump,
        )
        self._alive: dict[int, Call] = {}
        self._closed_contexts: set[int] = set()
        self._is_closed = False
        self._has_ended = anyio.Event()
        self.workers: TaskGroup | None = None

    def employ(self, workers: TaskGroup) -> None:
        """Takes the task group that agents are worked off in, questions are put in, and an outage is waited out in."""
        self.workers = self._approvals.tasks = self._outage.tasks = self._cost_stop.tasks = workers

    # --- a call arrives ---------------------------------------------------------------------------------------------

    async def called(self, called: AgentCalled, *, workflow: str | None, phase_above: str | None = None) -> None:
        """Accepts or refuses one call of `agent()`; `phase_above` is that of the script that started its workflow."""
        call = await self._intake.take(called, workflow=workflow, phase_above=phase_above)
        if call is None:
            return
        priority = call.task.options.priority
        self._forecast.accepted(priority)
        self._scheduler.add(call.task.call, priority)
        self._alive[call.task.call] = call
        self.pump()

    # --- its turn comes ---------------------------------------------------------------------------------------------

    @property
    def alive(self) -> int:
        """Accepted calls whose outcome is not on disk yet."""
        return len(self._alive)

    def _unbegun(self) -> list[Call]:
        """Calls that wait for their start."""
        return [call for call in self._alive.values() if not self._scheduler.has_begun(call.task.call)]

    @property
    def begun(self) -> int:
        """Agents that were started and are not over: at work, or waiting for a person."""
        return self._scheduler.begun

    def pump(self) -> None:
        """Starts whoever may start: called after everything that can change that."""
        state = self._state
        assert self.workers is not None
        self._pauses.seat()
        self._cost_stop.follow()
        while self._scheduler.has_turn and state.may_start and not (state.is_paused or self._is_closed):
            if self._cost_stop.holds():
                return
            number = self._scheduler.take()
            assert number is not None
            call = self._alive[number]
            refusal = self.limits.spent(call.phases)
            if refusal is None:
                refusal = self._forecast.refusal(call)
                if refusal is None:
                    self._forecast.began(call)
                    self.workers.start_soon(self._attend, call)
                    continue
            else:
                call.is_budget_spent = True
            outcome = AgentOutcome(status="over_budget", error=refusal, attempts=0)
            self.workers.start_soon(self._conclude, call, outcome)

    async def _attend(self, call: Call) -> None:
        state, task = self._state, call.task
        if call.cancel_reason is not None:
            outcome = AgentOutcome(status="cancelled", error=CANCELLED[call.cancel_reason], attempts=0)
            await self._conclude(call, outcome)
            return
        call.started_at = state.clock.stamp()
        state.bus.emit(AgentStarted(agent_id=task.agent_id, model=task.model, backend=task.backend))
        state.bus.add(waiting_row(call, "running"))
        await state.bus.flush()
        self._tell_of_the_run(call)
        outcome = await self._work(call)
        while call.is_anew:
            self._clear(call, outcome)
            outcome = await self._work(call)
        outcome = await state.checkpointing.ended(state, call, outcome)
        if outcome.status == "ok":
            self._outage.passed()
            if known := known_files(outcome, is_apart=task.options.is_apart):
                call.marks = await self._mark_files(known)
        await self._conclude(call, outcome)

    def _tell_of_the_run(self, call: Call) -> None:
        """Makes the notice that goes with a further turn of a conversation."""
        state, turn, earlier = self._state, call.turn, call.task.earlier
        if turn is None or earlier is None:
            return
        agents, answers = turn.conversation.ended_before
        told = notice(
            budget=state.ledger.standing(),
            agents=state.book.ended_since(agents),
            at_work=max(0, self.begun - 1),
            answered=state.answered[answers:],
            facts=state.request.notices if turn.conversation.is_new_here else (),
        )
        call.task = replace(call.task, earlier=replace(earlier, notice=state.bus.text(told)))

    def _clear(self, call: Call, outcome: AgentOutcome) -> None:
        """An attempt is over and another one follows: what it used counts, what it waited for is forgotten."""
        outcome = self._reservations.end(call, outcome)
        call.count(outcome)
        self._approvals.forget(call.task.agent_id)
        self._meter.forget(call.task.agent_id)
        call.set_aside(outcome)
        call.is_budget_spent = False

    async def _work(self, call: Call) -> AgentOutcome:
        """Has the call done by the executor; whatever happens, it has an outcome."""
        reporter = CallReporter(
            call,
            self._state,
            self._meter,
            approvals=self._approvals,
            pauses=self._pauses,
            outage=self._outage,
            reservations=self._reservations,
        )
        attempt = Attempt(call, executor=self._executor, reporter=reporter, pauses=self._pauses, outage=self._outage)
        return await attempt.outcome()

    # --- it ends ----------------------------------------------------------------------------------------------------

    async def _conclude(self, call: Call, outcome: AgentOutcome) -> None:
        """Outcome on disk, then seen, then its place freed, then delivered (DESIGN 8); `outcome` is the last try's."""
        if call.is_concluded:
            return
        state = self._state
        outcome = self._reservations.end(call, outcome)
        self._forecast.ended(call, outcome)
        call.count(outcome)
        outcome = call.ended(outcome)
        try:
            outcome, value_json = await self._recorder.record(call, outcome)
        except StoreError:
            return
        finally:
            if self._scheduler.has_begun(call.task.call):
                self._scheduler.release(call.task.call)
            self._pauses.forget(call)
            self._approvals.forget(call.task.agent_id)
            del self._alive[call.task.call]
            self._has_ended.set()
            state.wake.set()
        if call.turn is not None and outcome.status == "ok":
            call.turn.ended(value_json, tuple(call.turn.said))
        self._recorder.tell(call, outcome)
        if call.context in self._closed_contexts or self._is_closed:
            state.ledger.show(call.paid)
        else:
            state.put(
                Settled(
                    ready_ms=state.clock.script_ms(),
                    delivery=settlement(
                        outcome,
                        context=call.context,
                        call=call.script_call,
                        agent_id=call.task.agent_id,
                        settle=call.task.options.settle,
                        value_json=value_json,
                        is_budget_spent=call.is_budget_spent,
                    ),
                    agent_id=call.task.agent_id,
                    usage=call.paid,
                    changed=tuple(call.changed),
                )
            )
        self.pump()

    # --- what people do to one call ---------------------------------------------------------------------------------

    @property
    def numbered(self) -> int:
        """How many agents the run has had, over all attempts; they are numbered from 1."""
        return self._intake.numbered

    def call_of(self, agent_id: str) -> Call | None:
        """The call of an agent that waits or is at work; None where there is none, or it is over."""
        calls = (call for call in self._alive.values() if call.task.agent_id == agent_id)
        return next((call for call in calls if not call.is_concluded), None)

    def end_one(self, call: Call, reason: CancelReason, *, person: str) -> None:
        """Ends one call, waiting or at work, as a person wants it; its outcome follows and is delivered."""
        call.person = person
        call.cancel(reason)
        if self._scheduler.withdraw(call.task.call):
            assert self.workers is not None
            self.workers.start_soon(self._attend, call)

    # --- the end of a script, or of the run -------------------------------------------------------------------------

    def close_context(self, context: int, reason: CancelReason) -> int:
        """Cancels the calls of a script that is over, waiting or at work; how many they were (CONTRACT A13)."""
        self._closed_contexts.add(context)
        return self._cancel([call for call in self._alive.values() if call.context == context], reason)

    def close(self, reason: CancelReason) -> int:
        """Cancels every call, waiting or at work; how many they were. None is started any more."""
        self._is_closed = True
        self._approvals.close()
        return self._cancel(list(self._alive.values()), reason)

    def _cancel(self, calls: list[Call], reason: CancelReason) -> int:
        live = [call for call in calls if call.cancel(reason)]
        unstarted = [call for call in live if self._scheduler.withdraw(call.task.call)]
        if unstarted and self.workers is not None:
            self.workers.start_soon(self._conclude_unstarted, unstarted)
        return len(live)

    async def _conclude_unstarted(self, calls: list[Call]) -> None:
        """Records calls that never started, in one transaction however many they are."""
        await self._record_together(calls, lambda call: CANCELLED[call.cancel_reason or "stopped"])

    async def abandon(self, why: str) -> None:
        """Records what is still not over as cancelled: the wait for it has been long enough."""
        calls = [call for call in self._alive.values() if not call.is_concluded]
        if calls:
            await self._record_together(calls, lambda _: why)

    async def _record_together(self, calls: list[Call], why: Callable[[Call], str]) -> None:
        state = self._state
        with in_bulk():
            rows, staged = self._recorder.end_together(calls, why)
        try:
            await state.bus.commit(rows, staged)
        except StoreError:
            return
        finally:
            for call in calls:
                self._alive.pop(call.task.call, None)
            self._has_ended.set()
            state.wake.set()

    def tell_strays(self) -> None:
        """Says which agents changed what is outside of their declared scope; for when all of them have ended."""
        self._recorder.tell_strays()

    async def quiet(self) -> None:
        """Waits until every accepted call is over and on disk."""
        while self._alive:
            self._has_ended = anyio.Event()
            await self._has_ended.wait()
