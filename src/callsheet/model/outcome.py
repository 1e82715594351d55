"""How one agent ended, and what it used."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

AgentStatus = Literal["ok", "failed", "skipped", "cancelled", "timed_out", "over_budget", "conflict", "invalid"]
AGENT_STATUSES: tuple[AgentStatus, ...] = (
    "ok", "failed", "skipped", "cancelled", "timed_out", "over_budget", "conflict", "invalid",
)  # fmt: skip

CancelReason = Literal[
    "script_ended", "person", "stopped", "timeout", "budget", "run_failed", "agent_skipped", "agent_stopped", "restart"
]
"""Why something was cancelled; travels with the cancellation, so that the record says more than "cancelled".

`person` stopped the whole run; `agent_skipped`, `agent_stopped` and `restart` is what a person did to just this agent.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and money over all attempts of one agent, or summed over several.

    Attributes:
        cost_usd: What is known of the cost; None when a price is missing (never 0 for "unknown").
        estimated_usd: The part of `cost_usd` that was booked without the service's own figures.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float | None = 0.0
    estimated_usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """The sum; an unknown cost on either side makes the sum's cost unknown."""
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost_usd=(self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
            estimated_usd=self.estimated_usd + other.estimated_usd,
        )

    def since(self, before: Usage) -> Usage:
        """What came to it after an earlier sum; the cost is unknown where either's is."""
        is_known = self.cost_usd is not None and before.cost_usd is not None
        return Usage(
            input_tokens=self.input_tokens - before.input_tokens,
            output_tokens=self.output_tokens - before.output_tokens,
            cache_read_tokens=self.cache_read_tokens - before.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens - before.cache_write_tokens,
            cost_usd=(self.cost_usd or 0.0) - (before.cost_usd or 0.0) if is_known else None,
            estimated_usd=self.estimated_usd - before.estimated_usd,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The program of a command agent, once it has ended. What is long is cut in the middle."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWorktree:
    """What an agent changed in a worktree of its own, or one that it shared by name (CONTRACT A07, A16).

    Attributes:
        name: The name that the call gave; None with `isolation`.
        branch: Where the changes are committed; None where they are merged, or could not be committed.
        base: The commit that they are made on: HEAD, or one of ours with the workspace's uncommitted state.
        path: Where the worktree lies still, where it should not; None otherwise.
        patch: The file with the changes as a patch on `base`; None where there is none.
        merged: They are in the workspace.
        note: What could not be done, and what to do.
    """

    name: str | None = None
    branch: str | None = None
    base: str | None = None
    path: str | None = None
    patch: str | None = None
    merged: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOutcome:
    """How one agent ended (CONTRACT A17, O01). Plain data (DESIGN 13).

    Attributes:
        value: The final text, or with a schema the validated object. Meaningful with status `ok` only.
        error: What went wrong, for people; None with status `ok`.
        attempts: Answers given, where a schema made the agent try again; else 1.
        judged: Those of them that fitted the schema and were sent back for what they said.
        model: The model that answered, as the service named it.
        files_read, files_changed: Paths relative to the workspace, sorted.
        tools_called: Distinct tool names in order of first use.
        ran: Of a command agent, what its program did; for calls with `settle`.
        worktree: What it changed in a worktree; None where it had none, or changed nothing in it.
    """

    status: AgentStatus
    value: JsonValue = None
    error: str | None = None
    usage: Usage = field(default_factory=Usage)
    attempts: int = 1
    model: str | None = None
    mode: Literal["fast", "default"] = "default"
    files_read: tuple[str, ...] = ()
    files_changed: tuple[str, ...] = ()
    tools_called: tuple[str, ...] = ()
    ran: Ran | None = None
    worktree: AgentWorktree | None = None
    judged: int = 0
