"""A recorded run as a replay needs it, and what a replay came to (CONTRACT R02, R08): plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from callsheet.model.dataclass import dataclass
from callsheet.model.past import Past
from callsheet.model.run import RunError
from callsheet.model.sandbox import SandboxLimits
from callsheet.model.values import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """How a recorded agent was asked for.

    Attributes:
        options: As they were given.
        is_budget_spent: The run's budget was spent before it could start (CONTRACT G03).
        is_of_last: It was asked for in the last attempt at the run.
    """

    prompt: str
    options: Mapping[str, JsonValue]
    is_budget_spent: bool = False
    is_of_last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRefusal:
    """What a call got that no agent stands for.

    Attributes:
        asked: A digest of what it asked.
        value: JSON text; None where it was rejected with an error of `name` and `message`.
        spent_tokens, spent_usd: What the script was shown as spent from then on.
    """

    asked: str
    name: str
    message: str
    value: str | None
    spent_tokens: int
    spent_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedNested:
    """A script that `workflow()` asked for; `error` is why it was not run. `decision` is as `NestedRow` has it."""

    asked: str
    path: str | None
    text: str | None
    error: str | None
    decision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """All that a replay takes from a record.

    Attributes:
        past: The run, its reverted agents with the outcome that the script was given.
        status: A `RunStatus`, or `running` where it has not ended, or its process died.
        args_json: JSON text of `args`; None for `undefined`.
        result: What the script returned, as it was shown.
        calls: By agent id.
        refusals: By the number of the call, those of the last attempt.
        nested: In the order in which they were asked for, those of the last attempt.
        takes_drafts: `workflow({script})` took texts.
        logs: What the script has logged: level, text, workflow; None where an older record tells not whose they are.
        phases: Title and workflow, in order of first use.
        notes: What could not be read.
    """

    past: Past
    workflow: str | None
    script_text: str
    script_path: str | None
    args_json: str | None
    status: str
    result: JsonValue
    error: RunError | None
    backend: str = ""
    budget_tokens: int | None = None
    budget_usd: float | None = None
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    calls: Mapping[str, RecordedCall] = field(default_factory=dict)
    refusals: Mapping[int, RecordedRefusal] = field(default_factory=dict)
    nested: tuple[RecordedNested, ...] = ()
    takes_drafts: bool = False
    logs: tuple[tuple[str, str, str | None], ...] | None = None
    phases: tuple[tuple[str, str | None], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the script came to an end of its own, which a replay comes to as well."""
        if self.error is not None and self.status == "failed":
            return self.error.kind in ("script", "limit", "stalled")
        return self.status in ("completed", "degraded")


DifferenceKind = Literal[
    "call", "missing", "label", "phase", "limits", "workflow", "waiting", "log", "phases", "result", "error"
]
"""What is other than recorded: what a call asks; a recorded call that is not made (any more); how one is called, its
phase, or options that are no part of what it asks; a nested script; what the script waits for; a log line; the list of
phases; the result; the error it ends with."""

Ignorable = Literal["labels", "phases", "limits", "logs", "result"]
IGNORABLE: tuple[Ignorable, ...] = ("labels", "phases", "limits", "logs", "result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is other than recorded. Both sides are shown, what is long around the place where they part.

    Attributes:
        message: For people, in one line, without the two sides.
        call: The number of the call in the run, as it is made now.
        agent_id: The recorded agent that it is held against; None where there is none.
        line: Of the script, where the call stands now; None where it is not made.
        part: Which part of a call: `prompt`, `schema`, `model` …
        recorded, now: The two sides; None where there is nothing on one.
    """

    kind: DifferenceKind
    message: str
    recorded: str | None = None
    now: str | None = None
    call: int | None = None
    agent_id: str | None = None
    label: str | None = None
    phase: str | None = None
    line: int | None = None
    part: str | None = None


ReplayStatus = Literal["same", "differs", "partial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What a replay came to.

    Attributes:
        status: `same` to its end; `differs`; `partial`: the same as far as the record goes, which has no end.
        script: Which script was run: `recorded`, or the path or name that was given.
        recorded_status: How the recorded run ended; `running` where it has not, or its process died.
        recorded_calls: Recorded agents that the last attempt asked for.
        calls: Of these, how many were asked for again.
        result, error: What the script came to now; both None where it did not come to its end.
        differences: What is other than recorded, in the order in which it was met.
        stop: Why the replay ended before the script; None where it did not.
    """

    run_id: str
    workflow: str | None
    script: str
    status: ReplayStatus
    recorded_status: str
    recorded_calls: int
    calls: int
    result: JsonValue
    error: RunError | None
    differences: tuple[Difference, ...]
    stop: str | None = None
    notes: tuple[str, ...] = ()
    duration_ms: int = 0
