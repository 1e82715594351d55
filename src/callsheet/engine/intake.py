"""A call of `agent()` as it comes in: refused, answered from the record, or made into one for an agent."""

from __future__ import annotations

from dataclasses import replace

from callsheet.engine.admission import Admission, Asked
from callsheet.engine.call import Call, waiting_row
from callsheet.engine.clock import iso
from callsheet.engine.conversations import Turn
from callsheet.engine.forecast import Forecast
from callsheet.engine.identity import agent_id
from callsheet.engine.keys import AskedKey, Occurrences, asked_by
from callsheet.engine.limits import Limits
from callsheet.engine.options import MisuseError, unknown_option
from callsheet.engine.recorder import Recorder
from callsheet.engine.refusals import note_refusal
from callsheet.engine.replay import Decision
from callsheet.engine.settle import settlement
from callsheet.engine.state import RunState
from callsheet.engine.text import to_json
from callsheet.model.call import AgentTask, WorkspaceRef
from callsheet.model.events import AgentQueued
from callsheet.model.past import CallExplained, PastAgent
from callsheet.model.records import ReusedRow
from callsheet.model.sandbox import AgentCalled
from callsheet.model.spending import Budget


class Intake:
    """Judges calls in the order in which the script makes them.

    Attributes:
        numbered: How many agents the run has had, over all attempts; they are numbered from 1.
    """

    def __init__(
        self, state: RunState, *, admission: Admission, limits: Limits, recorder: Recorder, forecast: Forecast
    ) -> None:
        self._state = state
        self._admission = admission
        self._limits = limits
        self._recorder = recorder
        self._forecast = forecast
        self._occurrences = Occurrences()
        self.numbered = state.replay.last_agent

    async def take(self, called: AgentCalled, *, workflow: str | None, phase_above: str | None) -> Call | None:
        """The call for an agent to do, announced; None where it was refused, or was answered from the record.

        Args:
            called: What the script asks for.
            workflow: Of the nested script that does; None for the run's own.
            phase_above: The phase of the script that started that workflow.
        """
        state = self._state
        for name in called.unknown_options:
            state.book.warn_once("option", unknown_option(name))
        number = self._limits.count(called.context, called.call, line=called.line)
        if number is None:
            return None
        try:
            asked = self._admission.judge(called)
            conversation = state.conversations.of(called.context, asked.options.conversation)
        except MisuseError as error:
            state.reject(called.context, called.call, error.name, error.message)
            note_refusal(state, called, number)
            return None
        phases = tuple(title for title in (asked.phase, phase_above) if title is not None)
        key = asked_by(
            prompt=asked.prompt,
            options=asked.options,
            agent_type=asked.agent_type,
            model=asked.model,
            effort=asked.effort,
            backend=asked.backend,
            cwd=asked.cwd,
            chain="" if conversation is None else conversation.chain,
        )
        occurrence, scope = self._occurrences.peek(key.key), asked.options.scope
        decision = await state.replay.decide(key, occurrence, call=number, label=asked.label, scope=scope)
        if not decision.is_reused and self._limits.refuse(called, asked, phases):
            note_refusal(state, called, number)
            return None
        past = decision.past
        if past is None:
            self.numbered += 1
        elif phase_above is not None and phase_above != asked.phase:
            state.ledger.charge_phase(phase_above, past.outcome.usage)
        name = agent_id(self.numbered) if past is None else past.agent_id
        explained = CallExplained(
            call=number, agent_id=name, label=asked.label, reused=decision.is_reused, why=decision.why
        )
        state.replay.note(decision, key, explained, phase=asked.phase)
        task = self._task(asked, number, workflow, name=name, key=key)
        turn = None
        if conversation is not None:
            task = replace(task, earlier=conversation.earlier(state.run_id, key))
            turn = state.conversations.begin((called.context, called.call), conversation, task, key)
        if past is not None and decision.is_reused:
            if turn is not None:
                turn.opening = past.opening
                turn.answered = state.replay.answered_by(past)
                turn.ended(past.value_json or "null", past.said)
            self._reuse(called, task, past)
            return None
        return self._accepted(called, task, key, decision, phases=phases, turn=turn)

    def _task(self, asked: Asked, number: int, workflow: str | None, *, name: str, key: AskedKey) -> AgentTask:
        state, request = self._state, self._state.request
        return AgentTask(
            run_id=state.run_id,
            agent_id=name,
            call=number,
            key=key.key,
            occurrence=self._occurrences.next(key.key),
            prompt=asked.prompt,
            label=state.bus.text(asked.label),
            phase=None if asked.phase is None else state.bus.text(asked.phase),
            workflow=workflow,
            options=asked.options,
            agent_type=asked.agent_type,
            model=asked.model,
            effort=asked.effort,
            backend=asked.backend,
            workspace=WorkspaceRef(root=request.workspace, cwd=asked.cwd, commit=request.head),
            max_turns=asked.max_turns,
            run_date=iso(state.clock.started_ms),
        )

    def _accepted(
        self,
        called: AgentCalled,
        task: AgentTask,
        key: AskedKey,
        decision: Decision,
        *,
        phases: tuple[str, ...],
        turn: Turn | None,
    ) -> Call:
        state = self._state
        own = Budget(tokens=task.options.max_tokens, usd=task.options.max_cost_usd)
        call = Call(
            task=task,
            context=called.context,
            script_call=called.call,
            line=called.line,
            options_json=to_json(called.options),
            parts_json=to_json(key.parts),
            queued_at=state.clock.stamp(),
            account=state.ledger.open_account(phases=phases, own=own),
            phases=phases,
            turn=turn,
        )
        if decision.past is not None:
            call.take_up(decision.past, goes_on=decision.goes_on)
            if decision.goes_on:
                state.ledger.charge_agent(call.account, decision.past.outcome.usage)
        state.book.queued(task.phase, workflow=task.workflow)
        state.bus.emit(
            AgentQueued(
                agent_id=task.agent_id,
                call=task.call,
                label=task.label,
                phase=task.phase,
                workflow=task.workflow,
                seen=state.turn,
                context=called.context,
            )
        )
        state.bus.add(waiting_row(call, "queued"))
        return call

    def _reuse(self, called: AgentCalled, task: AgentTask, past: PastAgent) -> None:
        """Answers a call from the record: its outcome waits for its place in the order of deliveries (CONTRACT R08)."""
        state = self._state
        state.book.queued(task.phase, workflow=task.workflow)
        self._recorder.reuse((called.context, called.call), task, past, line=called.line)
        self._forecast.recorded(task, past.outcome)
        now = (task.call, task.label, task.phase, task.workflow)
        if now != (past.call, past.label, past.phase, past.workflow):
            state.bus.add(
                ReusedRow(
                    run_id=task.run_id,
                    agent_id=task.agent_id,
                    call=task.call,
                    label=task.label,
                    phase=task.phase,
                    workflow=task.workflow,
                    options=to_json(called.options),
                )
            )
        delivery = settlement(
            past.outcome,
            context=called.context,
            call=called.call,
            agent_id=task.agent_id,
            settle=task.options.settle,
            value_json=past.value_json or "null",
        )
        state.replay.await_outcome(past, delivery)
