"""What is on record of a run that is resumed (CONTRACT R01–R08): plain data, read once before the run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from callsheet.model.approval import QuestionAnswered
from callsheet.model.call import KeptConversation
from callsheet.model.dataclass import dataclass
from callsheet.model.opening import Opening
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.values import JsonValue

ReuseMode = Literal["unchanged", "prefix", "all"]
"""Which recorded outcomes answer again: those whose effects still hold (CONTRACT R03); those before the first call that
is not as recorded, as the reference has it; or all that were asked the same, whatever became of the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The first delivery of something, and the world as the script then saw it (CONTRACT R08).

    Attributes:
        seq: Its place among the deliveries of the run, over all attempts.
        at_ms: The script's clock.
        spent_tokens: What `budget.spent()` answered.
        spent_usd: What `budget.cost.spent()` answered; None where an older record does not say.
    """

    seq: int
    at_ms: int
    spent_tokens: int
    spent_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAgent:
    """An agent as recorded.

    Attributes:
        status: An `AgentStatus`, or `queued`, `running`, `reverted`: whatever the record says.
        parts: What the call asked, part by part, short or as digests; empty where an older record does not say.
        outcome: How it ended; of one that did not, what is known of it.
        value_json: Its answer as JSON text; None unless it ended `ok`.
        marks: What the files that it read and changed looked like when it ended.
        seen: Its delivery; None where its outcome never reached the script.
        messages, tool_calls: How many of them are recorded.
        attempt: The last of its attempts, from 1; 0 where it never started.
        lost: Of an agent whose end is not on record: by model the output tokens reserved for requests that were cut
            off, where their price was not known then; not part of its outcome's usage.
        kept: The conversation of that attempt, where it was cut off; None where there is nothing to go on from.
        said: Its messages, where it ended well as a turn of a conversation of several calls.
        opening: Of such a turn: how its requests began.
    """

    agent_id: str
    call: int
    key: str
    occurrence: int
    label: str
    phase: str | None
    workflow: str | None
    status: str
    backend: str
    outcome: AgentOutcome
    queued_at: str
    started_at: str | None
    ended_at: str | None
    value_json: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    seen: Seen | None = None
    messages: int = 0
    tool_calls: int = 0
    attempt: int = 0
    lost: tuple[tuple[str | None, int], ...] = ()
    kept: KeptConversation | None = None
    said: tuple[JsonValue, ...] = ()
    opening: Opening | None = None

    @property
    def has_answer(self) -> bool:
        """Whether there is something to answer again with: nulls are no results (CONTRACT R04)."""
        return self.status == "ok" and self.value_json is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTimer:
    """A timer that fired.

    Attributes:
        n: Its number in the record.
        delay_ms: As the script set it; None where an older record does not say.
    """

    n: int
    delay_ms: float | None
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDraft:
    """What became of a nested script that was for a person to approve.

    Attributes:
        sha256: Of its text.
        occurrence: Its number among those of the same text in its attempt, from 1.
        decision: As `NestedRow` has it.
        by: Who decided.
        words: What they said with a no.
        args_sha256: Of the args that it was decided for, as JSON text.
    """

    sha256: str
    occurrence: int
    decision: str
    by: str
    words: str | None = None
    args_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A run as recorded, for being resumed.

    Attributes:
        attempts: How often it was started before.
        rules: The version of the rules that it was recorded under (CONTRACT R08).
        last_event: The number of its last event.
        last_ms: When that was, in milliseconds since the epoch: its last sign of life.
        paid: What all attempts have paid, by the phase that it was paid in (CONTRACT R07).
        last_payment: The number of the last payment.
        surroundings: What answers depend on and no key says: `HEAD`, `memory files`, `version`; None for none.
        drafts: What was decided about nested scripts, over all attempts.
        answers: Questions to people that were answered, in order, each with when that was (ISO 8601 UTC); of a run that
            has conversations of several calls.
        notes: What could not be read.
        traceparent: What names the span of its last attempt, as that has recorded it; None where it was not traced.
    """

    run_id: str
    seed: int
    started_ms: int
    attempts: int = 1
    rules: str = ""
    agents: tuple[PastAgent, ...] = ()
    timers: tuple[PastTimer, ...] = ()
    last_event: int = 0
    last_ms: int = 0
    paid: Mapping[str | None, Usage] = field(default_factory=dict)
    last_payment: int = 0
    surroundings: Mapping[str, str | None] = field(default_factory=dict)
    drafts: tuple[PastDraft, ...] = ()
    answers: tuple[tuple[str, QuestionAnswered], ...] = ()
    notes: tuple[str, ...] = ()
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """How a recorded run is to go on.

    Attributes:
        reuse: Which recorded outcomes answer again.
        rerun: Labels and agent ids of those that are to run again although they have an answer (CONTRACT R04).
        changed_since: Files of the workspace that anyone else changed since the run stopped.
    """

    past: Past
    reuse: ReuseMode = "unchanged"
    rerun: frozenset[str] = frozenset()
    changed_since: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExplained:
    """Whether a call of a resumed run was answered from the record, and why not (CONTRACT R05).

    Attributes:
        why: For people; None where it was reused.
        before: The recorded agent that it was held against; None where there is none.
        changed: Which parts of what it asks are other than recorded: `prompt`, `schema`, `model` …
    """

    call: int
    agent_id: str
    label: str
    reused: bool
    why: str | None = None
    before: str | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeReport:
    """What a resumed run took from its record.

    Attributes:
        attempt: Which attempt at the run this is, from 2.
        reused: Agents that answered from the record.
        live: Agents that were asked anew.
        gone: Recorded agents that the script does not ask for any more.
        differs: What recorded answers depend on and is other now, for people: commit, memory files, program (R02).
    """

    attempt: int
    reused: int
    live: int
    gone: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    calls: tuple[CallExplained, ...] = ()
