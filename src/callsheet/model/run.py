"""A run: its settings, its identity, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from callsheet.model.call import ServiceName
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentStatus, AgentWorktree, Usage
from callsheet.model.past import ResumeReport
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.sandbox import ErrorKind, LogLevel, SandboxLimits
from callsheet.model.spending import Budget, TokenPrices
from callsheet.model.values import JsonValue

RunStatus = Literal["completed", "degraded", "failed", "cancelled", "interrupted"]

WorkspaceUse = Literal["alone", "share", "worktree"]

DEFAULT_COST_STOP_USD = 25.0
"""Without a budget of its own a run stops starting agents here (CONTRACT L04)."""

DEFAULT_APPROVAL_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPermissions:
    """What a run was started with as to permissions, for its record.

    Attributes:
        mode_source: Where the mode was said: a file, `flags`, or `default`.
        allow, deny: Rules of the caller's.
        folders: Further folders in which agents may work, absolute.
        trusted: What the workspace's own files ask for took effect.
        unconfined: The machine was said to be the boundary.
        config_from: The ref and commit whose configuration held; None for the working tree's.
        config: The run's own config file, absolute; None where it had none.
    """

    mode: str = "acceptEdits"
    mode_source: str = "default"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    trusted: bool = False
    unconfined: bool = False
    ignore_hooks: bool = False
    config_from: str | None = None
    config: str | None = None


DEFAULT_MAX_WAIT_S = 6 * 3600.0
"""How long a run waits for a service that stays away (CONTRACT K05)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What holds for one run, after defaults, files, environment and flags (FORMATS 5).

    Attributes:
        max_parallel: Agents at work at a time, 1 to 256 (CONTRACT L01).
        max_agents: Agents a run may start; the next call rejects with AgentCapError (CONTRACT L01).
        budget_tokens: Output tokens, hard (CONTRACT G03); None for no budget.
        budget_usd: US dollars; None for none.
        cost_stop_usd: Dollars at which a run with neither starts no further agent unless a person says so (CONTRACT
            L04); 0 for no such limit.
        phase_budgets: Budgets of phases by title or glob; each phase that one matches has so much for itself.
        agent_budget: What each agent may use at most; a call's `maxTokens` and `maxCost` can only lower it.
        prices: What models cost that was said, by id or glob; before the price list.
        model: The model for calls that name none; None for the backend's default.
        type_models: Models by the name of an agent type, in any capitals, for calls that name none.
        mode_routing: Who serves calls, by phase or label; the first that means a call counts, above what it asks.
        agent_permissions: What files of settings say that agents may do; all of it holds together.
        log_file: Where events go besides the record; None for nowhere. `log_level` says how much of them.
        backend: `anthropic`, `offline`, `scripted`.
        backend_file: The answers of the scripted backend, absolute, so that a resumed run finds them.
        agent_types: Names of agent types, and of those that are taken for them.
        service: Where the models of `anthropic` are had: `anthropic`, or a platform such as `bedrock`.
        memory: A hash of the memory files that agents in the workspace's root are told (CONTRACT R02); None for none.
        preflight: What to do where a literal of the script is wrong: `warn` or `refuse`.
        max_turns: Model turns an agent may take (CONTRACT L04).
        max_wait_s: How long the run waits for a service that stays away; 0 for not at all (CONTRACT K05).
        checkpoint_interval: Agents between two checkpoints of the workspace; 0 for the first and the last alone.
        rollback_on_failure: What an agent changed that failed is taken back.
        cache_warmup: Of calls that share a prompt prefix the first goes ahead (CONTRACT K03).
        interactive: A person is there to be asked.
        approval_timeout_s: How long an agent waits for a person's answer; without one it is denied.
        workspace_use: How the run stands to others on its workspace (DESIGN 17): alone in it, beside others that share
            it too, or in a worktree of its own.
        continues: By name of a conversation the run and agent of the record where its first turn goes on.
        notices: What the host had to say to these turns.
        traceparent: What names the run's span where it is traced, so that one that goes on can link to it; None where
            it is not.
        drafts: `workflow({script})` takes texts, and each nested script is for a person to approve (CONTRACT W03).
    """

    max_parallel: int = 16
    max_agents: int = 1_000
    budget_tokens: int | None = None
    budget_usd: float | None = None
    cost_stop_usd: float = DEFAULT_COST_STOP_USD
    phase_budgets: Mapping[str, Budget] = field(default_factory=dict)
    agent_budget: Budget = field(default_factory=Budget)
    prices: Mapping[str, TokenPrices] = field(default_factory=dict)
    model: str | None = None
    type_models: Mapping[str, str] = field(default_factory=dict)
    mode_routing: tuple[Route, ...] = ()
    agent_permissions: tuple[AgentPermissions, ...] = ()
    log_file: str | None = None
    log_level: Literal["quiet", "normal", "verbose"] = "normal"
    backend: str = "offline"
    backend_file: str | None = None
    agent_types: dict[str, str] = field(default_factory=dict)
    service: ServiceName = "anthropic"
    memory: str | None = None
    preflight: Literal["warn", "refuse"] = "warn"
    max_turns: int = 200
    max_wait_s: float = DEFAULT_MAX_WAIT_S
    checkpoint_interval: int = 0
    rollback_on_failure: bool = False
    cache_warmup: bool = True
    interactive: bool = False
    approval_timeout_s: float = DEFAULT_APPROVAL_TIMEOUT_S
    workspace_use: WorkspaceUse = "alone"
    sandbox: SandboxLimits = field(default_factory=SandboxLimits)
    permissions: RecordedPermissions = field(default_factory=RecordedPermissions)
    continues: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    traceparent: str | None = None
    drafts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunError:
    """Why a run did not complete (FORMATS 1, `error`)."""

    kind: ErrorKind
    message: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of the run's log. `at` is ISO 8601 UTC with milliseconds."""

    level: LogLevel
    message: str
    at: str


ProblemCause = Literal["failed", "invalid", "threw", "over_budget", "cap", "skipped", "timed_out", "denied", "conflict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One null or dropped slot, or one call that did not end well (FORMATS 1, `problems`).

    Attributes:
        where: For instance `parallel 2 [17]`, `pipeline 1 [0]`, `agent`.
        next: The command that reruns just this, None where there is none.
        count: How many equal problems this entry stands for (folded above 100).
    """

    where: str
    cause: ProblemCause
    message: str
    line: int | None = None
    agent_id: str | None = None
    label: str | None = None
    next: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What agents were not allowed to do (FORMATS 1, `denials`).

    Attributes:
        rule: What decided.
        would_allow: Rules that would have allowed it, ready to paste; empty where no rule can.
    """

    tool: str
    input: str
    rule: str
    agents: int
    would_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSummary:
    """One agent of a run, as every surface shows it (FORMATS 1, `agents`). Times are ISO 8601 UTC.

    Attributes:
        answer_attempts: The number of the answer that was accepted, where two or more before it did not fit the schema:
            models then submit placeholders, so that such an answer deserves a look. None elsewhere (CONTRACT A03).
    """

    agent_id: str
    call: int
    label: str
    phase: str | None
    workflow: str | None
    status: AgentStatus
    reused: bool
    model: str | None
    backend: str
    attempts: int
    usage: Usage
    files_read: tuple[str, ...]
    files_changed: tuple[str, ...]
    tools_called: tuple[str, ...]
    queued_at: str
    started_at: str | None
    ended_at: str | None
    error: str | None
    answer_attempts: int | None = None
    worktree: AgentWorktree | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSummary:
    """A group of agents. `title` None gathers the calls made before any phase."""

    title: str | None
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWorktree:
    """What became of the worktree that a run had for itself (FORMATS 1, `worktree`).

    Attributes:
        changed: Its files were changed.
        branch: Where the changes are committed; None where there are none, or they could not be.
        base: The commit that they are made on: HEAD, or one of ours with the workspace's uncommitted state.
        path: Where the worktree lies still; None where it was removed.
        note: What could not be done, and what to do.
    """

    changed: bool
    branch: str | None = None
    base: str | None = None
    path: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """A file of the workspace that is other than it was before the run (FORMATS 1, `changes`).

    Attributes:
        added, removed: Lines; None where it is no text.
        agents: Who reported that they changed it, by id; nobody where nobody known did.
        outside: Those of them who did not declare that they would write it.
    """

    path: str
    added: int | None
    removed: int | None
    agents: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended: the object that every surface gives (FORMATS 1, CONTRACT O04).

    Attributes:
        workflow: `meta.name`; None where it could not be read.
        script: The path or name as given.
        stopped_by_person: A person stopped it (exit status 130).
        over_budget: A budget stopped an agent that had been accepted (exit status 4); a call that it refused, which the
            script saw, is none.
        by_model: Usage by the name of the model that answered.
        worktree: What became of the run's own worktree; None where it had none.
        resumed: What it took from its record; None where it was not resumed.
        changes: The files of the workspace that are other than before the run, by path; None where that is not known,
            since no checkpoints were taken.
    """

    run_id: str
    workflow: str | None
    script: str
    status: RunStatus
    backend: str
    result: JsonValue
    error: RunError | None
    logs: tuple[LogLine, ...]
    phases: tuple[PhaseSummary, ...]
    agents: tuple[AgentSummary, ...]
    problems: tuple[Problem, ...]
    denials: tuple[Denial, ...]
    usage: Usage
    by_model: dict[str, Usage]
    duration_ms: int
    stopped_by_person: bool = False
    over_budget: bool = False
    worktree: RunWorktree | None = None
    resumed: ResumeReport | None = None
    changes: tuple[ChangedFile, ...] | None = None
