"""The one stream of a run (FORMATS 3): terminal, dashboards, record and `--output jsonl` are all fed by it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from callsheet.model.approval import QuestionKind, ScriptShown, Verdict
from callsheet.model.confinement import CommandsHeld
from callsheet.model.dataclass import dataclass
from callsheet.model.run import AgentSummary, RunResult
from callsheet.model.sandbox import Confinement, LogLevel
from callsheet.model.script import DeclaredPhase


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """First of every run that was not refused.

    `commands` is what holds agents' commands; None where the backend runs none, and so nothing was tried.
    """

    workflow: str
    description: str
    script: str
    backend: str
    workspace: str
    phases: tuple[DeclaredPhase, ...]
    confinement: Confinement
    max_parallel: int
    notes: tuple[str, ...] = ()
    commands: CommandsHeld | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatusChanged:
    """`running`, `paused`, `stopping`, `waiting` …: what the run does, and why; `until`: when its waiting ends."""

    status: str
    reason: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """Last of every run."""

    result: RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted:
    """A phase was entered for the first time, by `phase()` or by an agent's option."""

    title: str
    workflow: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A line of the run's log; `by` says whose: the script's or the host's, None where an older record does not say."""

    level: LogLevel
    message: str
    workflow: str | None = None
    by: Literal["script", "host"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentQueued:
    """A call was accepted and waits for its turn.

    Attributes:
        seen: The place of the last delivery before it (`delivered_seq` of the record): what had been handed to the
            scripts by then, and nothing else, can have led to it. None where an older record does not say.
        context: Which script made it: 0 the run's own, else the nested one of that number.
    """

    agent_id: str
    call: int
    label: str
    phase: str | None
    workflow: str | None
    seen: int | None = None
    context: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStarted:
    """An agent began to work."""

    agent_id: str
    model: str | None
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProgress:
    """A tool begun, or tokens that came in. `tokens` are the agent's output tokens so far."""

    agent_id: str
    tool: str | None
    tool_summary: str | None
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWaiting:
    """An agent waits for something that is not its own work; `reason` is what went wrong, where something did."""

    agent_id: str
    why: str
    until: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFinished:
    """An agent ended; its outcome is on disk. `result_preview` is at most 200 characters of its answer."""

    agent: AgentSummary
    result_preview: str | None


ControlAction: TypeAlias = Literal["message", "message_taken", "skip", "stop", "restart"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentControlled:
    """Somebody did something to one agent while it waited or worked; for skip and stop, its end follows.

    Attributes:
        action: `message` was sent; `message_taken`, it is part of the conversation now.
        by: Who.
        text: Of a message that was sent; at most 16 KiB of it.
        attempt: Which attempt at the call is under way, or with `restart` begins, from 1.
    """

    agent_id: str
    action: ControlAction
    by: str
    text: str | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """A person is asked; said again when other agents ask the same, one of them asks no more, or its time begins.

    Attributes:
        id: Of the question, within the run.
        input: What the tool would be used with; at most 16 KiB of it.
        rules: What "always" would grant.
        agents: How many wait for the answer; `agent_ids` are theirs.
        until: When it counts as denied, ISO 8601 UTC; None while it waits behind others, and its time does not run.
        kind: `permission`; `cost`: whether the run goes on, which has cost as much as one without a budget may, where
            the agents wait for their start, and `agent_ids` names none; or `script`: whether it starts one that nobody
            has seen, for which no agent waits, and unanswered the run ends.
        more_usd: Of `cost`: the dollars that `once` stands for.
        script: Of `script`: what it is about, at most 64 KiB of its text.
    """

    id: str
    tool: str
    input: str
    reason: str
    rules: tuple[str, ...]
    agents: int
    agent_ids: tuple[str, ...]
    until: str | None
    kind: QuestionKind = "permission"
    more_usd: float | None = None
    script: ScriptShown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswered:
    """A question is no longer open.

    Attributes:
        by: Who answered: as the answer says, or `time limit`, `an earlier answer`, `end of the run`, `nobody waits`.
        agents: How many had waited for it.
        more_usd: Of a question of kind `cost`, with `once`: the dollars that the run may cost beyond what it had.
    """

    id: str
    verdict: Verdict
    by: str
    agents: int
    more_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWarning:
    """A share of a budget is spent.

    Attributes:
        kind: `tokens`, `usd`, or `cost_stop` for the dollars at which a run without a budget starts no further agent.
        share: Of the total, that was passed: 0.5, 0.8 or 0.95.
        phase: Whose budget it is; None for the run's.
    """

    kind: str
    spent: float
    total: float
    share: float
    phase: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointTaken:
    """The state of the workspace was kept.

    `n` counts from 0, the state before the run; `left_out` are files that are not in it, and why.
    """

    n: int
    commit_id: str
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRestored:
    """The workspace was brought back to checkpoint `n`; or what one agent changed was taken back.

    Attributes:
        n: Of the checkpoint; of what one agent changed, the last one before it was taken back.
        left: Files that were not brought back, and why.
        reverted: The agents whose outcome does not answer again.
        agent_id: The agent, where it was one agent's changes.
    """

    n: int
    written: tuple[str, ...]
    removed: tuple[str, ...]
    left: tuple[tuple[str, str], ...] = ()
    reverted: tuple[str, ...] = ()
    agent_id: str | None = None


EventBody: TypeAlias = (
    RunStarted
    | RunStatusChanged
    | RunFinished
    | PhaseStarted
    | Log
    | AgentQueued
    | AgentStarted
    | AgentProgress
    | AgentWaiting
    | AgentFinished
    | AgentControlled
    | ApprovalAsked
    | ApprovalAnswered
    | BudgetWarning
    | CheckpointTaken
    | CheckpointRestored
)

EVENT_NAMES: dict[type, str] = {
    RunStarted: "run.started",
    RunStatusChanged: "run.status",
    RunFinished: "run.finished",
    PhaseStarted: "phase.started",
    Log: "log",
    AgentQueued: "agent.queued",
    AgentStarted: "agent.started",
    AgentProgress: "agent.progress",
    AgentWaiting: "agent.waiting",
    AgentFinished: "agent.finished",
    AgentControlled: "agent.controlled",
    ApprovalAsked: "approval.asked",
    ApprovalAnswered: "approval.answered",
    BudgetWarning: "budget.warning",
    CheckpointTaken: "checkpoint.taken",
    CheckpointRestored: "checkpoint.restored",
}
"""The public name of each event (FORMATS 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event with its place in the run: `seq` counts from 1 without gaps; `at` is ISO 8601 UTC with milliseconds."""

    run_id: str
    seq: int
    at: str
    body: EventBody

    @property
    def name(self) -> str:
        """The public name (FORMATS 3)."""
        return EVENT_NAMES[type(self.body)]
