"""Rows of the record (FORMATS 4), as the engine hands them to a store. JSON columns are given as JSON text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from callsheet.model.dataclass import dataclass

if TYPE_CHECKING:
    from callsheet.model.run import RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as it begins. Times are ISO 8601 UTC with milliseconds.

    Attributes:
        seed: What `Math.random` was seeded with.
        started_ms: The recorded start, which is the script's first `Date.now()`.
        version: The version of the rules of keys and delivery (CONTRACT R02, R08).
        attempts: How often the run was started, resumes included.
        workspace: Where its agents work, absolute.
        head: The commit that the workspace stood at; None without git.
        program: The version of this program.
    """

    run_id: str
    workflow: str | None
    script_text: str
    script_path: str | None
    args: str | None
    seed: int
    parent_run_id: str | None
    started_at: str
    started_ms: int
    settings: str
    version: str
    attempts: int = 1
    workspace: str | None = None
    head: str | None = None
    program: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEndRow:
    """How a run ended."""

    run_id: str
    status: RunStatus
    result: str | None
    error: str | None
    ended_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """An agent: written when queued, again when started, again with its outcome. The last write of a field stands.

    Attributes:
        parts: What the call asked, part by part, as a JSON object (CONTRACT R05).
        marks: What the files that it read and changed looked like when it ended, as a JSON object by path.
        details: What else its outcome holds, as a JSON object: `ran`, `worktree`, `estimated_usd`, `conversation` with
            the turn before it (`run_id`, `agent_id`) and a digest of its options (`frame`), `budget_spent` where
            the run's budget was spent before it could start; None for nothing.
    """

    run_id: str
    agent_id: str
    call: int
    key: str
    occurrence: int
    label: str
    phase: str | None
    workflow: str | None
    task_description: str
    options: str
    status: str
    backend: str
    model: str | None
    mode: str
    timestamp_queued: str
    timestamp_start: str | None = None
    timestamp_end: str | None = None
    files_accessed: str = "[]"
    files_changed: str = "[]"
    tools_called: str = "[]"
    result: str | None = None
    error: str | None = None
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    parts: str | None = None
    marks: str | None = None
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledRow:
    """The end of an agent that never started: all else of its `AgentRow` stands. Thousands come at once."""

    run_id: str
    agent_id: str
    error: str | None
    timestamp_end: str
    status: str = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusedRow:
    """How a resumed script calls an agent whose recorded outcome it was given: nothing of its key (CONTRACT R02)."""

    run_id: str
    agent_id: str
    call: int
    label: str
    phase: str | None
    workflow: str | None
    options: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredRow:
    """When an outcome was first handed to the script, and what the script then saw (CONTRACT R08)."""

    run_id: str
    agent_id: str
    delivered_seq: int
    delivered_at: int
    spent_after: int
    cost_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; `payload` is the whole public object."""

    run_id: str
    seq: int
    at: str
    event: str
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """One message of an agent's conversation, numbered from 1 over all attempts.

    Attributes:
        attempt: A call that was started over has a conversation for each attempt.
        person: Who sent it, where it did not come from the task, the model or a tool.
        opening: With the first that a turn of a conversation adds: how its requests begin (`Opening.text`); not shown.
    """

    run_id: str
    agent_id: str
    n: int
    payload: str
    attempt: int = 1
    person: str | None = None
    opening: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallRow:
    """A tool call: the intent before, the same `n` with its result after (CONTRACT R01). `n` is over all attempts."""

    run_id: str
    agent_id: str
    n: int
    tool: str
    input: str
    state: str
    at: str
    detail: str | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerRow:
    """A timer that fired, with its place in the order of deliveries, and what the script then saw."""

    run_id: str
    n: int
    delivered_seq: int
    delivered_at: int
    delay_ms: float | None = None
    spent_after: int | None = None
    cost_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A call of `agent()` that was refused: no agent stands for it, and what its script got is known from here alone.

    Attributes:
        attempt: Of the run.
        call: Its number in the run.
        asked: A digest of prompt and options as they were given.
        name, message: Of the error; both empty where it got a value, which is `value` then, as JSON text.
        spent_after, cost_after: What the script was shown as spent from then on.
    """

    run_id: str
    attempt: int
    call: int
    asked: str
    name: str
    message: str
    value: str | None
    spent_after: int
    cost_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedRow:
    """A script that `workflow()` asked for, as it was found: a replay has it from here alone.

    Attributes:
        attempt: Of the run.
        n: Counts such calls of the attempt, from 1.
        asked: The name or path as it was given; of a text `script` and the beginning of its hash.
        same_as: The `n` that has the text, where that is the same; None where it stands here.
        error: Why it was not run, as the script was told; None where it was, or could have been.
        decision: Where it was for a person to approve: `once`, `run` (and all after it), `unasked` where nobody is
            asked, `deny`, `unanswered`, or `asked` while the question stands; None elsewhere.
        decided_by: Who decided.
        words: What they said with a no.
        args_sha256: Of the args that it was decided for, as JSON text; None where nothing was decided.
    """

    run_id: str
    attempt: int
    n: int
    asked: str
    workflow: str | None = None
    script_path: str | None = None
    same_as: int | None = None
    error: str | None = None
    script_text: str | None = None
    decision: str | None = None
    decided_by: str | None = None
    words: str | None = None
    args_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """A state of the workspace that was kept; `commit_id` names it in the git folder of the run's checkpoints."""

    run_id: str
    n: int
    commit_id: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertedRow:
    """An agent whose changes were taken back: its outcome does not answer again (CONTRACT R04)."""

    run_id: str
    agent_id: str
    status: str = "reverted"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingRow:
    """One payment: a request to a model, or what an agent used otherwise. Written when reserved and when settled.

    Attributes:
        n: Counts through the run, over all its attempts.
        state: `reserved` while it is under way; where its host died it counts as reserved (CONTRACT R01).
        cost_usd: None where it is not known.
        estimated_usd: The part of `cost_usd` that was booked without the service's own figures.
        reserved_tokens, reserved_usd: What was set aside; None where nothing was, or for the dollars no price is known.
    """

    run_id: str
    n: int
    agent_id: str
    attempt: int
    model: str | None
    state: Literal["reserved", "settled"]
    at: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = None
    estimated_usd: float = 0.0
    reserved_tokens: int | None = None
    reserved_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """What a person, or what they had said before, decided about a run that was about to start.

    Attributes:
        workflow: The name in the script's meta.
        path: Where the script lay; None where it was no file.
        decision: `run`, `run edited`, `always` (and not asked again), `remembered` (not asked again), or `no`.
    """

    workflow: str
    path: str | None
    decision: str
    at: str


Row: TypeAlias = (
    RunRow
    | RunEndRow
    | AgentRow
    | CancelledRow
    | ReusedRow
    | DeliveredRow
    | EventRow
    | MessageRow
    | ToolCallRow
    | TimerRow
    | RefusedRow
    | NestedRow
    | CheckpointRow
    | RevertedRow
    | SpendingRow
    | ApprovalRow
)
