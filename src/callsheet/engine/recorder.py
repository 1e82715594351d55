"""How agents ended, on its way to the disk, into the run's result and its log."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from callsheet.engine.bus import Staged
from callsheet.engine.call import (
    PREVIEW_SOURCE_CHARS,
    Call,
    cancelled_row,
    checked,
    doubtful_attempts,
    final_row,
    preview,
    reused_summary,
    summary,
)
from callsheet.engine.problems import CallRef
from callsheet.engine.reporter import ProgressMeter
from callsheet.engine.settle import is_null_with_log
from callsheet.engine.state import RunState
from callsheet.errors import StoreError
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentFinished
from callsheet.model.outcome import AgentOutcome
from callsheet.model.past import PastAgent
from callsheet.model.records import AgentRow, CancelledRow
from callsheet.permissions.scopes import Worker, strays

NOT_RECORDED = "it answered, and the answer could not be recorded: a resumed run asks it again"


class Recorder:
    """Ends calls: one with its outcome, or many at once that are cancelled."""

    def __init__(self, state: RunState, meter: ProgressMeter) -> None:
        self._state = state
        self._meter = meter
        self._changed: list[tuple[Call, Worker]] = []

    async def record(self, call: Call, outcome: AgentOutcome) -> tuple[AgentOutcome, str]:
        """Writes how a call ended, then lets it be seen; gives the outcome as it may go out, and its value as JSON.

        Raises:
            StoreError: It is not on disk. The run has been told, and what is seen of it says so.
        """
        state = self._state
        self._say_unknown_cost(call, outcome)
        outcome, value_json = checked(outcome, state.bus.text)
        call.is_concluded = True
        call.ended_at = state.clock.stamp()
        self._meter.forget(call.task.agent_id)
        shown = preview(outcome.value, value_json, state.bus.text) if outcome.status == "ok" else None
        # All of it is redacted by now: label and phase since the call was accepted.
        staged = state.bus.stage_clean(
            AgentFinished(agent=summary(call, outcome), result_preview=shown), at=call.ended_at
        )
        self._enter(call, staged)
        try:
            await state.bus.write((final_row(call, outcome, value_json), state.bus.row(staged)))
        except StoreError:
            self._lose(call, staged)
            raise
        finally:
            state.bus.release(staged)
        if outcome.files_changed:
            self._changed.append((call, _worker(call, outcome)))
        return outcome, value_json

    def tell_strays(self) -> None:
        """Says which agents changed what is outside of their declared scope; the run is degraded then."""
        outside = strays(worker for _, worker in self._changed)
        for call, worker in self._changed:
            if files := outside.get(worker.agent_id):
                self._state.book.strayed(call.ref, files, agent=call.task, line=call.line)

    def reuse(self, ref: CallRef, task: AgentTask, past: PastAgent, *, line: int | None) -> None:
        """Shows a call as ended that is answered from the record."""
        value_json = past.value_json or "null"
        is_short_text = value_json.startswith('"') and len(value_json) <= PREVIEW_SOURCE_CHARS
        shown = preview(json.loads(value_json) if is_short_text else None, value_json, self._state.bus.text)
        agent = reused_summary(task, past)
        # Its label and phase are redacted, and so was what is on record of its end.
        self._state.bus.emit_clean(AgentFinished(agent=agent, result_preview=shown))
        self._state.book.finished(ref, agent, line=line, counts=False)

    def end_together(
        self, calls: Sequence[Call], why: Callable[[Call], str]
    ) -> tuple[list[AgentRow | CancelledRow], list[Staged]]:
        """Ends calls as cancelled, all at one moment: what is to be written and shown of it."""
        bus, now = self._state.bus, self._state.clock.stamp()
        rows: list[AgentRow | CancelledRow] = []
        staged: list[Staged] = []
        outcomes: dict[tuple[str, int], AgentOutcome] = {}
        for call in calls:
            call.is_concluded = True
            call.cancel_reason = call.cancel_reason or "stopped"
            call.ended_at = now
            how = (why(call), 0 if call.started_at is None else 1)
            if (outcome := outcomes.get(how)) is None:
                outcome = outcomes[how] = AgentOutcome(status="cancelled", error=how[0], attempts=how[1])
            if call.before is not None:
                outcome = call.ended(outcome)
            rows.append(cancelled_row(call, outcome) if call.started_at is None else final_row(call, outcome, "null"))
            # Label and phase were redacted when the call was accepted, and the reason is ours.
            one = bus.stage_clean(AgentFinished(agent=summary(call, outcome), result_preview=None), at=now)
            staged.append(one)
            self._enter(call, one)
        return rows, staged

    def tell(self, call: Call, outcome: AgentOutcome) -> None:
        """Says in the log what its script, or people, would else not know.

        Why it gives `null` (CONTRACT A05), which answer deserves a look (A03), and which messages it did not take.
        """
        attempts = doubtful_attempts(call.task, outcome)
        if attempts is not None:
            misfits = attempts - 1 - outcome.judged
            message = (
                f"{call.named}: its answer was taken at attempt {attempts} only, since {misfits} before it did not fit "
                "the schema; it may hold placeholders"
            )
            self._state.book.log("warn", message, workflow=call.task.workflow)
        if call.letters and not call.is_left:
            what = "a message" if len(call.letters) == 1 else f"{len(call.letters)} messages"
            self._state.book.log("warn", f"{call.named} ended without taking {what} that a person sent")
        if call.is_left or not is_null_with_log(
            outcome, settle=call.task.options.settle, is_budget_spent=call.is_budget_spent
        ):
            return
        how = outcome.status.replace("_", " ")
        why = f": {outcome.error}" if outcome.error else ""
        self._state.book.log("warn", f"{call.named} {how}{why}", workflow=call.task.workflow)

    def _lose(self, call: Call, staged: Staged) -> None:
        """Shows an answer that is not on disk as what it is to a resumed run: not given (DESIGN 8)."""
        finished = staged.event.body
        assert isinstance(finished, AgentFinished)
        if finished.agent.status == "ok":
            lost = replace(finished.agent, status="failed", error=NOT_RECORDED)
            staged.event = replace(staged.event, body=AgentFinished(agent=lost, result_preview=None))
            self._enter(call, staged)

    def _enter(self, call: Call, staged: Staged) -> None:
        """Puts the ended agent, redacted as its event is, into the run's result."""
        finished = staged.event.body
        assert isinstance(finished, AgentFinished)
        agent, remedy = finished.agent, None
        if agent.status == "over_budget" and (call.is_budget_spent or call.started_at is None):
            remedy = call.remedy or self._state.ledger.remedy(call.phases)
        self._state.book.finished(call.ref, agent, line=call.line, counts=not call.is_left, remedy=remedy)

    def _say_unknown_cost(self, call: Call, outcome: AgentOutcome) -> None:
        if outcome.usage.cost_usd is None and self._state.ledger.counts_money:
            model = outcome.model or call.task.model or call.task.backend
            stop = self._state.ledger.stop_text
            left_out = "what is left of it" if stop is None else f"the {stop} at which it would stop"
            self._state.book.warn_once(
                "cost", f"what {model} costs is not known: the run's cost, and {left_out}, leave it out"
            )


def _worker(call: Call, outcome: AgentOutcome) -> Worker:
    task, options = call.task, call.task.options
    own_tree = task.agent_id if options.isolation == "worktree" else ""
    return Worker(
        agent_id=task.agent_id,
        scope=None if options.scope is None else options.scope.write,
        files=outcome.files_changed,
        tree=options.worktree or own_tree,
        started_at=call.started_at,
        ended_at=call.ended_at,
    )
