"""A call of `agent()`: what was asked, and the task an executor is given for it."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Literal

from callsheet.model.conversation import Earlier, told_as_text
from callsheet.model.dataclass import dataclass
from callsheet.model.opening import Opening
from callsheet.model.values import JsonValue

ServiceName = Literal["anthropic", "bedrock", "bedrock-mantle", "vertex", "foundry"]
"""Where Claude models are had."""

Effort = Literal["low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")

ACP_BACKENDS = "acp:"
"""Begins the names of backends that are programs which speak the Agent Client Protocol."""

OPTION_NAMES = (
    "label", "phase", "schema", "model", "effort", "isolation", "agentType", "tools", "disallowedTools", "scope",
    "timeout", "stallMs", "maxTurns", "maxTokens", "maxCost", "retries", "priority", "speed", "context", "cwd",
    "backend", "settle", "worktree", "merge", "conversation",
)  # fmt: skip
"""Every option of `agent()` (CONTRACT A07, A14–A16). `runtime_js/20-calls.js` has the same list; a test compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Globs that an agent may read and write, relative to the workspace (CONTRACT A14). None: no narrowing."""

    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """The options of one call, checked (CONTRACT A07, A14–A16). None means: not given."""

    label: str | None = None
    phase: str | None = None
    schema: dict[str, JsonValue] | None = None
    model: str | None = None
    effort: Effort | None = None
    isolation: Literal["worktree"] | None = None
    agent_type: str | None = None
    tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()
    scope: Scope | None = None
    timeout_s: float | None = None
    stall_ms: float | None = None
    max_turns: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    retries: int | None = None
    priority: float = 0.0
    speed: Literal["fast", "standard"] | None = None
    context: str | None = None
    cwd: str | None = None
    backend: str | None = None
    settle: bool = False
    worktree: str | None = None
    merge: bool = False
    conversation: str | None = None

    @property
    def is_apart(self) -> bool:
        """Whether the agent works in a worktree, not in the workspace itself."""
        return self.isolation is not None or self.worktree is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpProgram:
    """A program that speaks the Agent Client Protocol: an agent of its own, with its own model.

    Attributes:
        command: The program and its arguments.
        environment: Names of variables that it gets of the host's, besides what agents' commands get: its key.
        hosts: What it may reach where it is confined: `example.com`, `*.example.com`, or `*` for every host; None for
            what agents' commands may.
        folders: Folders of its own, absolute or from `~`, that it may read and change where it is confined: its login.
    """

    command: tuple[str, ...]
    environment: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = None
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentType:
    """A kind of agent, by value, so that a task needs no look-up elsewhere (FORMATS 6).

    Attributes:
        tools: The only tools it may use; None for all.
        system_prompt: The body of its file; empty for `general-purpose`.
        read_only: It may change nothing (`Explore`, `Plan`).
        source: Where it was found: `built-in`, a path, or `settings`.
        command: Of a command agent: the program that does the work, and its arguments; None where a model does.
        acp: Of an agent that speaks the Agent Client Protocol: its program; it is the backend `acp:NAME`, too.
        timeout_s: Of the last two: how long the program may take; None for the backend's own limit.
    """

    name: str
    description: str
    system_prompt: str = ""
    tools: tuple[str, ...] | None = None
    disallowed_tools: tuple[str, ...] = ()
    model: str | None = None
    effort: Effort | None = None
    read_only: bool = False
    source: str = "built-in"
    command: tuple[str, ...] | None = None
    acp: AcpProgram | None = None
    timeout_s: float | None = None

    @property
    def own_backend(self) -> str | None:
        """The backend that does the work of agents of this type where the call names none; None for the run's."""
        return None if self.acp is None else f"{ACP_BACKENDS}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRef:
    """Where an agent works. By reference: a remote executor makes its own copy from commit and patch.

    Attributes:
        root: Absolute path of the workspace on this host.
        cwd: The agent's folder, relative to `root`; `.` for the root itself.
        commit: HEAD at the run's start, None without git.
        patch: Uncommitted state as a patch; None where the executor works in `root` itself.
    """

    root: str
    cwd: str = "."
    commit: str | None = None
    patch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConversation:
    """What is on record of an agent that was in the middle when its run was interrupted (CONTRACT R01).

    Attributes:
        messages: As they were reported, in order (`MessageAdded.payload`).
        tool_calls: Tool, input as JSON text and state of each recorded call, in order: one that still says `intent` may
            or may not have happened.
        opening: Of a turn of a conversation: how its requests began.
    """

    messages: tuple[JsonValue, ...]
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    opening: Opening | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTask:
    """All that an executor needs to do one call: plain data, JSON-shaped, never code or live objects (DESIGN 13).

    Attributes:
        run_id, agent_id, attempt: Together the stable, idempotent identity of the task; `attempt` counts from 1,
            and goes on where a person lets the call start over from its beginning.
        call: The call's number in the run, from 1, in order of arrival.
        key: Canonical hash of what the call asks (CONTRACT R02).
        occurrence: The call's number among equal keys, from 1.
        label: Always set: the given one or the prompt's first line (CONTRACT A10).
        model: As asked, after settings; None for the backend's default.
        run_date: The run's recorded start, ISO 8601, the only clock an agent is told.
        kept: Where it goes on from; None to begin. A backend that cannot go on begins.
        earlier: The turns before this one; None where it begins a conversation, or is in none. A backend without
            `takes_earlier` never sees it: its prompt tells what was said.
    """

    run_id: str
    agent_id: str
    call: int
    key: str
    occurrence: int
    prompt: str
    label: str
    phase: str | None
    workflow: str | None
    options: CallOptions
    agent_type: AgentType
    model: str | None
    effort: Effort | None
    backend: str
    workspace: WorkspaceRef
    max_turns: int
    run_date: str
    tags: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    kept: KeptConversation | None = None
    earlier: Earlier | None = None

    @property
    def opening(self) -> Opening | None:
        """How the requests of its conversation began; None where it begins one, or that is not known."""
        own = None if self.kept is None else self.kept.opening
        return own or (None if self.earlier is None else self.earlier.turns[-1].opening)

    @property
    def told(self) -> AgentTask:
        """The same for a backend that begins anew: what was said before stands in the prompt."""
        if self.earlier is None:
            return self
        return replace(self, prompt=told_as_text(self.earlier, self.prompt), earlier=None)
