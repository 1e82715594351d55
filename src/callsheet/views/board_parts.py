"""What a board is made of: agents, phases, lines of the log, and what a run was started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentStatus, Usage
from callsheet.model.run import AgentSummary
from callsheet.model.spending import Budget
from callsheet.views.progress import seconds_between

AgentState: TypeAlias = Literal["queued", "running", "waiting", "ended"]
PhaseKey: TypeAlias = tuple[str | None, str | None]
"""Workflow (None for the run's own) and title (None for calls before any phase)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What a run was started with, which its events do not say: from the settings on its record.

    Attributes:
        budget: Of the whole run.
        cost_stop_usd: Dollars at which a run without a budget asks, or ends; 0 for no such limit (CONTRACT L04).
        phase_budgets: By title or glob.
        model: For calls that name none; None for the backend's default.
    """

    budget: Budget = field(default_factory=Budget)
    cost_stop_usd: float = 0.0
    phase_budgets: Mapping[str, Budget] = field(default_factory=dict)
    max_parallel: int = 0
    max_agents: int = 0
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """What a person sent to an agent; `taken` when it has become part of the conversation."""

    by: str
    text: str
    at: str
    taken: bool = False


@dataclass(slots=True, kw_only=True)
class BoardAgent:
    """An agent of the run. Times are ISO 8601 UTC.

    Attributes:
        state: `queued`, `running`, `waiting`, `ended`.
        status: How it ended; None before.
        attempt: Which attempt at the call is under way, from 1.
        usage: What it used; while it works only output tokens are known, and its cost is None.
        doing: Its tool, or what it waits for; None where neither is known, or it is over.
        until: When its waiting ends, where known; `reason`: what went wrong, where something did.
        preview: The first 200 characters of its answer.
        asked_to: `skip`, `stop` or `restart`, where a person asked for that and it is not done yet.
        changed_at: The number of the last event that changed anything here.
    """

    agent_id: str
    call: int
    label: str
    phase: str | None
    workflow: str | None
    context: int = 0
    state: AgentState = "queued"
    status: AgentStatus | None = None
    reused: bool = False
    model: str | None = None
    backend: str | None = None
    attempt: int = 1
    usage: Usage = field(default_factory=lambda: Usage(cost_usd=None))
    doing: str | None = None
    until: str | None = None
    reason: str | None = None
    queued_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None
    preview: str | None = None
    tools_called: tuple[str, ...] = ()
    files_read: tuple[str, ...] = ()
    files_changed: tuple[str, ...] = ()
    branch: str | None = None
    messages: tuple[SentMessage, ...] = ()
    asked_to: str | None = None
    changed_at: int = 0

    @property
    def key(self) -> PhaseKey:
        """Of the phase that it belongs to."""
        return (self.workflow, self.phase)

    @property
    def ended_badly(self) -> bool:
        """Whether it ended otherwise than `ok`."""
        return self.status is not None and self.status != "ok"

    def elapsed_s(self, now: datetime) -> float:
        """Seconds from its start to its end or to now; 0 before its start."""
        return seconds_between(self.started_at, self.ended_at or now)

    def took_end(self, ended: AgentSummary, preview: str | None, at: str) -> None:
        """Takes over what its end says of it."""
        self.status, self.reused, self.error, self.preview = ended.status, ended.reused, ended.error, preview
        self.model, self.backend, self.usage = ended.model, ended.backend, ended.usage
        self.queued_at = self.queued_at or ended.queued_at
        self.started_at, self.ended_at = ended.started_at, ended.ended_at or at
        self.tools_called, self.files_read, self.files_changed = (
            ended.tools_called,
            ended.files_read,
            ended.files_changed,
        )
        self.branch = None if ended.worktree is None else ended.worktree.branch
        self.doing = self.until = self.reason = self.asked_to = None

    def took_message(self) -> None:
        """The oldest message that it had not taken is part of its conversation now."""
        for place, message in enumerate(self.messages):
            if not message.taken:
                taken = replace(message, taken=True)
                self.messages = (*self.messages[:place], taken, *self.messages[place + 1 :])
                return


@dataclass(slots=True, kw_only=True)
class BoardPhase:
    """A group of agents: a phase of the run's own script, or of a nested one (CONTRACT W01, G02).

    Attributes:
        detail: What `meta` says of it.
        waiting: Of those that are at work or queued, how many wait for something that has a name.
        usage: Of the agents that ended, and output tokens of those at work; its cost is None where one's is not known.
        started_at, ended_at: Of the first agent that started; of the last that ended.
    """

    title: str | None
    workflow: str | None
    detail: str | None = None
    is_entered: bool = False
    queued: int = 0
    running: int = 0
    waiting: int = 0
    ended: int = 0
    ended_badly: int = 0
    reused: int = 0
    usage: Usage = field(default_factory=Usage)
    started_at: str | None = None
    ended_at: str | None = None
    changed_at: int = 0

    @property
    def key(self) -> PhaseKey:
        """By which it is found."""
        return (self.workflow, self.title)

    @property
    def agents(self) -> int:
        """All agents of the group so far."""
        return self.queued + self.running + self.waiting + self.ended

    @property
    def is_at_work(self) -> bool:
        """Whether any of its agents has not ended."""
        return self.ended < self.agents

    def elapsed_s(self, now: datetime) -> float:
        """Seconds from its first agent's start to its last one's end, or to now while one is at work."""
        return seconds_between(self.started_at, now if self.is_at_work else self.ended_at)

    def took_end(self, agent: BoardAgent, *, counted: int) -> None:
        """Counts an agent of it that has ended.

        Args:
            agent: It.
            counted: The output tokens of it that were counted while it worked.
        """
        self.usage = self.usage + agent.usage + Usage(output_tokens=-counted)
        self.ended_badly += agent.ended_badly
        self.reused += agent.reused
        self.started_at = min(filter(None, (self.started_at, agent.started_at)), default=None)
        self.ended_at = max(filter(None, (self.ended_at, agent.ended_at)), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardLine:
    """A line of the log: the script's, or what the host says happened."""

    seq: int
    at: str
    level: str
    message: str
    workflow: str | None = None
    by: str | None = None
