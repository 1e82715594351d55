"""One accepted call, and its row in the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, replace

import anyio

from callsheet.engine.accounts import Account
from callsheet.engine.conversations import Turn
from callsheet.engine.effects import shared_changes
from callsheet.engine.text import cut, to_json
from callsheet.model.call import AgentTask
from callsheet.model.counts import MAX_RESULT_BYTES
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentOutcome, CancelReason, Usage
from callsheet.model.past import PastAgent
from callsheet.model.records import AgentRow, CancelledRow
from callsheet.model.run import AgentSummary
from callsheet.model.values import JsonValue
from callsheet.ports import AgentHandle

MAX_ERROR_CHARS = 4_000
PREVIEW_CHARS = 200
DOUBTFUL_ATTEMPTS = 3
"""From this answer on an object that fits its schema is marked: what was sent back twice is often filled in at last."""

PREVIEW_SOURCE_CHARS = 4_000

CANCELLED: dict[CancelReason, str] = {
    "script_ended": "cancelled: the script ended without waiting for it",
    "person": "cancelled: a person stopped the run",
    "stopped": "cancelled: the run was told to end",
    "timeout": "cancelled: its time was over",
    "budget": "cancelled: the budget is spent",
    "run_failed": "cancelled: the run could not go on",
    "agent_skipped": "a person skipped it",
    "agent_stopped": "a person stopped it",
    "restart": "cancelled: it was to start over",
}

BY_A_PERSON: frozenset[CancelReason] = frozenset({"agent_skipped", "agent_stopped"})
"""A person ended just this agent: its call is answered like any other (CONTRACT A17)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Letter:
    """A message to an agent that is not part of its conversation yet."""

    text: str
    by: str


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """An accepted call on its way: it waits, is at work, and is concluded once.

    Attributes:
        context, script_call: How its script numbers it; the promise to settle.
        options_json, parts_json: The options as given, and what the call asks part by part, for the record.
        scope: While it is at work: cancelling it ends the work.
        cancel_reason: Why it is to end; None while it may go on.
        is_concluded: Its outcome is on its way to the disk; reports that come now are too late.
        is_budget_spent: The run's budget was spent before it could start.
        remedy: The flag that would have let it begin, where it was skipped for want of budget.
        left_s: What was left of its `timeout` when its clock was stopped; None while it runs, or where it has none.
        handle: Of the attempt that is at work; None before it is, and while one is being cancelled to start over.
        letters: Messages to it that it has not taken.
        person: Who ended it, where a person did.
        is_restarting: Its attempt is to end, or has ended, and the next one is not at work yet.
        before: What earlier attempts came to together; None in the first.
        paid: What it has used since the run was opened, up to the end of its last attempt.
        changed: What it has changed of the shared workspace since then.
        marks: What the files that it read and changed looked like when it ended.
        messages, tool_calls: How many were recorded, over all attempts.
        account: Where what it uses is counted.
        phases: Whose budgets hold for it: its own, and that of the script that started its workflow.
        turn: Of a conversation; None where it is none.
    """

    task: AgentTask
    context: int
    script_call: int
    line: int | None
    options_json: str
    parts_json: str
    queued_at: str
    account: Account
    phases: tuple[str, ...] = ()
    turn: Turn | None = None
    started_at: str | None = None
    ended_at: str | None = None
    scope: anyio.CancelScope | None = None
    cancel_reason: CancelReason | None = None
    is_concluded: bool = False
    is_budget_spent: bool = False
    remedy: str | None = None
    left_s: float | None = None
    handle: AgentHandle | None = None
    letters: list[Letter] = field(default_factory=list)
    person: str | None = None
    is_restarting: bool = False
    before: AgentOutcome | None = None
    paid: Usage = field(default_factory=Usage)
    changed: set[str] = field(default_factory=set)
    marks: Mapping[str, str] = field(default_factory=dict)
    messages: int = 0
    tool_calls: int = 0

    @property
    def ref(self) -> tuple[int, int]:
        """How its script numbers it."""
        return (self.context, self.script_call)

    @property
    def named(self) -> str:
        """How it is called in a log line."""
        return f'agent "{self.task.label}" ({self.task.agent_id})'

    def stop_clock(self) -> None:
        """Lets its `timeout` stand still: it waits for a person or for the service, which are not its to hurry."""
        if self.scope is not None and self.left_s is None and self.scope.deadline != math.inf:
            self.left_s = self.scope.deadline - anyio.current_time()
            self.scope.deadline = math.inf

    def start_clock(self) -> None:
        """Lets its `timeout` go on."""
        if self.scope is not None and self.left_s is not None:
            self.scope.deadline = anyio.current_time() + self.left_s
            self.left_s = None

    @property
    def is_left(self) -> bool:
        """Whether it was cancelled because its script or the run was over, which is no problem of its own (A13)."""
        return self.cancel_reason is not None and self.cancel_reason not in BY_A_PERSON

    async def reach(self, handle: AgentHandle) -> None:
        """The attempt is at work: what people have sent meanwhile goes to it."""
        self.handle = handle
        for letter in tuple(self.letters):
            await handle.message(letter.text)

    def start_over(self) -> None:
        """Ends the attempt at work; the next one begins when it has ended."""
        self.is_restarting = True
        self.handle = None
        if self.scope is not None:
            self.scope.cancel()

    @property
    def is_anew(self) -> bool:
        """Whether another attempt follows the one that has just ended."""
        return self.is_restarting and self.cancel_reason is None

    def take_up(self, past: PastAgent, *, goes_on: bool) -> None:
        """Goes on from what is on record of it; what it had used counts (CONTRACT R07).

        With `goes_on` its attempt that was cut off is continued, else it is asked once more.
        """
        if past.attempt == 0:
            return
        self.before = past.outcome
        attempt = past.attempt if goes_on else past.attempt + 1
        self.task = replace(self.task, attempt=attempt, kept=past.kept if goes_on else None)
        self.messages, self.tool_calls = past.messages, past.tool_calls
        if self.turn is not None and self.task.kept is not None:
            self.turn.said = [*self.task.kept.messages]
            self.turn.opening = self.task.kept.opening

    def count(self, outcome: AgentOutcome) -> None:
        """An attempt has ended: what it used and changed counts."""
        self.paid += outcome.usage
        self.changed.update(shared_changes(outcome, is_apart=self.task.options.is_apart))

    def set_aside(self, outcome: AgentOutcome) -> None:
        """Keeps what an attempt came to, and makes ready for the next."""
        self.before = self._with_before(outcome)
        self.task = replace(self.task, attempt=self.task.attempt + 1, kept=None)
        self.left_s = None
        if self.turn is not None:
            self.turn.said.clear()
            self.turn.opening = None

    def ended(self, outcome: AgentOutcome) -> AgentOutcome:
        """How it ended in all: its attempts together, and what a person wanted of it."""
        outcome = self._with_before(outcome)
        match self.cancel_reason:
            case "agent_skipped":
                return replace(outcome, status="skipped", value=None, error=f"{self.person} skipped it")
            case "agent_stopped":
                return replace(outcome, status="cancelled", value=None, error=f"{self.person} stopped it")
            case _:
                return outcome

    def _with_before(self, outcome: AgentOutcome) -> AgentOutcome:
        before = self.before
        if before is None:
            return outcome
        return replace(
            outcome,
            usage=before.usage + outcome.usage,
            attempts=before.attempts + outcome.attempts,
            judged=before.judged + outcome.judged,
            files_read=tuple(sorted({*before.files_read, *outcome.files_read})),
            files_changed=tuple(sorted({*before.files_changed, *outcome.files_changed})),
            tools_called=tuple(dict.fromkeys((*before.tools_called, *outcome.tools_called))),
        )

    def cancel(self, reason: CancelReason) -> bool:
        """Ends the work; False where it had ended, or was ending, already."""
        if self.cancel_reason is not None or self.is_concluded:
            return False
        self.cancel_reason = reason
        if self.scope is not None:
            self.scope.cancel()
        return True


def waiting_row(call: Call, status: str) -> AgentRow:
    """The row of a call that has no outcome yet: `queued` or `running`. What attempts before it used stays in it."""
    task = call.task
    before = call.before or AgentOutcome(status="cancelled", attempts=0)
    return replace(
        _row(call, before, status=status),
        model=task.model,
        mode=mode_asked(task),
        timestamp_end=None,
    )


def cancelled_row(call: Call, outcome: AgentOutcome) -> CancelledRow:
    """What changes in the row of a call that never started."""
    task = call.task
    assert call.ended_at is not None
    return CancelledRow(run_id=task.run_id, agent_id=task.agent_id, error=outcome.error, timestamp_end=call.ended_at)


def final_row(call: Call, outcome: AgentOutcome, value_json: str) -> AgentRow:
    """The row of a call with its outcome. A result is kept for `ok` only: nulls are not results (CONTRACT R04)."""
    return _row(
        call,
        outcome,
        status=outcome.status,
        result=value_json if outcome.status == "ok" else None,
        error=outcome.error,
        marks=to_json(call.marks) if call.marks else None,
        details=_details(outcome, is_budget_spent=call.is_budget_spent, turn=call.turn),
    )


def _row(
    call: Call,
    outcome: AgentOutcome,
    *,
    status: str,
    result: str | None = None,
    error: str | None = None,
    marks: str | None = None,
    details: str | None = None,
) -> AgentRow:
    task, usage = call.task, outcome.usage
    return AgentRow(
        run_id=task.run_id,
        agent_id=task.agent_id,
        call=task.call,
        key=task.key,
        occurrence=task.occurrence,
        label=task.label,
        phase=task.phase,
        workflow=task.workflow,
        task_description=task.prompt,
        options=call.options_json,
        status=status,
        backend=task.backend,
        model=outcome.model or task.model,
        mode=outcome.mode,
        timestamp_queued=call.queued_at,
        timestamp_start=call.started_at,
        timestamp_end=call.ended_at,
        files_accessed=to_json(outcome.files_read) if outcome.files_read else "[]",
        files_changed=to_json(outcome.files_changed) if outcome.files_changed else "[]",
        tools_called=to_json(outcome.tools_called) if outcome.tools_called else "[]",
        attempts=outcome.attempts,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cost_usd=usage.cost_usd,
        parts=call.parts_json,
        result=result,
        error=error,
        marks=marks,
        details=details,
    )


def _details(outcome: AgentOutcome, *, is_budget_spent: bool, turn: Turn | None) -> str | None:
    """What the row has no column for; None where there is nothing of it."""
    details: dict[str, object] = {"budget_spent": True} if is_budget_spent else {}
    if turn is not None:
        details["conversation"] = asdict(turn.follows)
    if outcome.ran is not None:
        details["ran"] = asdict(outcome.ran)
    if outcome.worktree is not None:
        details["worktree"] = asdict(outcome.worktree)
    if outcome.judged:
        details["judged"] = outcome.judged
    if outcome.usage.estimated_usd:
        details["estimated_usd"] = outcome.usage.estimated_usd
    return to_json(details) if details else None


def summary(call: Call, outcome: AgentOutcome) -> AgentSummary:
    """The call as every surface shows it, before redaction."""
    return _summary(call.task, outcome, queued_at=call.queued_at, started_at=call.started_at, ended_at=call.ended_at)


def reused_summary(task: AgentTask, past: PastAgent) -> AgentSummary:
    """A call that is answered from the record; its times are those of then."""
    return _summary(
        task,
        past.outcome,
        queued_at=past.queued_at,
        started_at=past.started_at,
        ended_at=past.ended_at,
        reused=True,
    )


def _summary(
    task: AgentTask,
    outcome: AgentOutcome,
    *,
    queued_at: str,
    started_at: str | None,
    ended_at: str | None,
    reused: bool = False,
) -> AgentSummary:
    return AgentSummary(
        agent_id=task.agent_id,
        call=task.call,
        label=task.label,
        phase=task.phase,
        workflow=task.workflow,
        status=outcome.status,
        reused=reused,
        model=outcome.model or task.model,
        backend=task.backend,
        attempts=outcome.attempts,
        usage=outcome.usage,
        files_read=outcome.files_read,
        files_changed=outcome.files_changed,
        tools_called=outcome.tools_called,
        queued_at=queued_at,
        started_at=started_at,
        ended_at=ended_at,
        error=outcome.error,
        answer_attempts=doubtful_attempts(task, outcome),
        worktree=outcome.worktree,
    )


def doubtful_attempts(task: AgentTask, outcome: AgentOutcome) -> int | None:
    """How many answers it took, where that makes the accepted one doubtful (CONTRACT A03); None elsewhere."""
    counted = outcome.attempts - outcome.judged  # what was sent back for what it said had fitted
    is_doubtful = outcome.status == "ok" and task.options.schema is not None and counted >= DOUBTFUL_ATTEMPTS
    return outcome.attempts if is_doubtful else None


def mode_asked(task: AgentTask) -> str:
    """The record's `mode` while it is not known how the call was served."""
    return "fast" if task.options.speed == "fast" else "default"


def checked(outcome: AgentOutcome, redact: Callable[[str], str]) -> tuple[AgentOutcome, str]:
    """The outcome as it may go out, and its value as JSON text.

    One whose value is not JSON, or too large to hand over, has failed.
    """
    if outcome.error is not None:
        outcome = replace(outcome, error=cut(redact(outcome.error), MAX_ERROR_CHARS))
    if outcome.status != "ok":
        return outcome, "null"
    try:
        text = to_json(outcome.value)
    except (ValueError, TypeError, RecursionError) as error:
        why = f"the backend's answer is not JSON: {error}"
    else:
        if len(text) * 4 <= MAX_RESULT_BYTES or len(text.encode()) <= MAX_RESULT_BYTES:
            return outcome, text
        why = "the answer is larger than 64 MiB"
    return replace(outcome, status="failed", value=None, error=why), "null"


def preview(value: JsonValue, value_json: str, redact: Callable[[str], str]) -> str:
    """The beginning of an answer, for people; redacted before it is cut, so that no half of a secret is left."""
    source = value if isinstance(value, str) else value_json
    return cut(redact(source[:PREVIEW_SOURCE_CHARS]), PREVIEW_CHARS)
