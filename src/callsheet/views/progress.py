"""A run as a surface shows it: one plain object, fed by events. Knows no terminal and no clock."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import field
from datetime import datetime
from typing import Literal, assert_never

from callsheet.model.dataclass import dataclass
from callsheet.model.events import (
    AgentControlled,
    AgentFinished,
    AgentProgress,
    AgentQueued,
    AgentStarted,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    BudgetWarning,
    CheckpointRestored,
    CheckpointTaken,
    Event,
    Log,
    PhaseStarted,
    RunFinished,
    RunStarted,
    RunStatusChanged,
)
from callsheet.model.outcome import AgentStatus, Usage
from callsheet.model.run import RunResult

KEPT_FINISHED = 64
"""How many ended agents a view remembers one by one; all of them are in the counts."""


@dataclass(slots=True, kw_only=True)
class AgentView:
    """An agent that is queued, at work, or among the last that ended.

    Attributes:
        state: `queued`, `running`, `waiting`, `ended`.
        status: How it ended; None before.
        tokens: Its output tokens so far.
        doing: Its tool, or what it waits for.
        until: When its waiting ends, ISO 8601, where known.
    """

    agent_id: str
    label: str
    phase: str | None
    workflow: str | None
    state: Literal["queued", "running", "waiting", "ended"] = "queued"
    status: AgentStatus | None = None
    reused: bool = False
    model: str | None = None
    tokens: int = 0
    doing: str | None = None
    until: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class PhaseView:
    """A group of agents: a phase of the run's own script, or of a nested one (CONTRACT W01, G02)."""

    title: str | None
    workflow: str | None
    is_entered: bool = False
    queued: int = 0
    running: int = 0
    ended: int = 0
    ended_badly: int = 0
    tokens: int = 0

    @property
    def agents(self) -> int:
        """All agents of the group so far."""
        return self.queued + self.running + self.ended


@dataclass(slots=True, kw_only=True)
class RunView:
    """A pure reducer over the events of one run (FORMATS 3): `apply` them in order, read the fields.

    What it holds is bounded: agents that have not ended (CONTRACT L03 bounds them), phases, and the last of what ended.

    Attributes:
        queue: Agents that wait for their turn, by id, in order of their calls.
        at_work: Agents that started and have not ended, by id, in order of their start.
        ended: The last that ended, oldest first.
        questions: What a person is asked and has not answered, by id, oldest first.
        outcomes: How many ended with each status.
        tokens: Output tokens of all agents, those at work included.
        result: Set by the last event.
    """

    run_id: str = ""
    workflow: str = ""
    backend: str = ""
    status: str = "starting"
    reason: str | None = None
    started_at: str | None = None
    phases: dict[tuple[str | None, str | None], PhaseView] = field(default_factory=dict)
    queue: dict[str, AgentView] = field(default_factory=dict)
    at_work: dict[str, AgentView] = field(default_factory=dict)
    ended: deque[AgentView] = field(default_factory=lambda: deque(maxlen=KEPT_FINISHED))
    questions: dict[str, ApprovalAsked] = field(default_factory=dict)
    outcomes: Counter[AgentStatus] = field(default_factory=Counter)
    reused: int = 0
    usage: Usage = field(default_factory=Usage)
    live_tokens: int = 0
    result: RunResult | None = None

    @property
    def tokens(self) -> int:
        """Output tokens of all agents, those at work included."""
        return self.usage.output_tokens + self.live_tokens

    @property
    def finished(self) -> int:
        """How many agents ended."""
        return sum(self.outcomes.values())

    @property
    def ended_badly(self) -> int:
        """How many agents ended otherwise than `ok`."""
        return self.finished - self.outcomes["ok"]

    def elapsed_s(self, now: datetime) -> float:
        """Seconds since the run started; 0 before."""
        if self.result is not None:
            return self.result.duration_ms / 1000
        return seconds_between(self.started_at, now)

    def apply(self, event: Event) -> None:
        """Takes the next event."""
        body = event.body
        match body:
            case RunStarted():
                self._start(event.run_id, event.at, body)
            case RunStatusChanged():
                self.status, self.reason = body.status, body.reason
            case RunFinished():
                self.status, self.result = body.result.status, body.result
                self.questions.clear()
            case PhaseStarted():
                self._phase(body.workflow, body.title).is_entered = True
            case AgentQueued():
                self._queue(body)
            case AgentStarted():
                self._begin(event.at, body)
            case AgentProgress():
                self._progress(body)
            case AgentWaiting():
                self._wait(body)
            case AgentFinished():
                self._end(body)
            case ApprovalAsked():
                self.questions[body.id] = body
            case ApprovalAnswered():
                self._answer(body)
            case AgentControlled():
                self._controlled(body)
            case Log() | BudgetWarning() | CheckpointTaken() | CheckpointRestored():
                pass
            case _:
                assert_never(body)

    def _start(self, run_id: str, at: str, body: RunStarted) -> None:
        self.questions.clear()  # of an attempt that could not take them back
        self.run_id, self.started_at = run_id, at
        self.workflow, self.backend, self.status = body.workflow, body.backend, "running"
        for phase in body.phases:
            self._phase(None, phase.title)

    def _phase(self, workflow: str | None, title: str | None) -> PhaseView:
        key = (workflow, title)
        if key not in self.phases:
            self.phases[key] = PhaseView(title=title, workflow=workflow)
        return self.phases[key]

    def _queue(self, body: AgentQueued) -> None:
        self.queue[body.agent_id] = AgentView(
            agent_id=body.agent_id, label=body.label, phase=body.phase, workflow=body.workflow
        )
        self._phase(body.workflow, body.phase).queued += 1

    def _begin(self, at: str, body: AgentStarted) -> None:
        agent = self.queue.pop(body.agent_id, None)
        if agent is None:
            return
        self.at_work[body.agent_id] = agent
        agent.state, agent.model, agent.started_at = "running", body.model, at
        agent.doing = agent.until = None
        phase = self._phase(agent.workflow, agent.phase)
        phase.queued, phase.running = phase.queued - 1, phase.running + 1

    def _progress(self, body: AgentProgress) -> None:
        agent = self.at_work.get(body.agent_id)
        if agent is None:
            return
        agent.state, agent.until = "running", None
        if body.tool is not None:
            agent.doing = f"{body.tool} {body.tool_summary}" if body.tool_summary else body.tool
        self.live_tokens += body.tokens - agent.tokens
        agent.tokens = body.tokens

    def _wait(self, body: AgentWaiting) -> None:
        agent = self.at_work.get(body.agent_id) or self.queue.get(body.agent_id)
        if agent is not None:
            agent.state, agent.doing, agent.until = "waiting", body.why, body.until

    def _controlled(self, body: AgentControlled) -> None:
        agent = self.at_work.get(body.agent_id)
        if agent is not None and body.action == "restart":
            agent.state, agent.doing, agent.until = "running", None, None

    def _answer(self, body: ApprovalAnswered) -> None:
        asked = self.questions.pop(body.id, None)
        for agent_id in asked.agent_ids if asked is not None else ():
            agent = self.at_work.get(agent_id)
            if agent is not None and agent.state == "waiting":
                agent.doing, agent.until = "its turn", None

    def _end(self, body: AgentFinished) -> None:
        ended = body.agent
        phase = self._phase(ended.workflow, ended.phase)
        if (agent := self.at_work.pop(ended.agent_id, None)) is not None:
            phase.running -= 1
            self.live_tokens -= agent.tokens
        elif self.queue.pop(ended.agent_id, None) is not None:
            phase.queued -= 1
        self.outcomes[ended.status] += 1
        self.reused += ended.reused
        self.usage += ended.usage
        phase.ended += 1
        phase.ended_badly += ended.status != "ok"
        phase.tokens += ended.usage.output_tokens
        self.ended.append(
            AgentView(
                agent_id=ended.agent_id,
                label=ended.label,
                phase=ended.phase,
                workflow=ended.workflow,
                state="ended",
                status=ended.status,
                reused=ended.reused,
                model=ended.model,
                tokens=ended.usage.output_tokens,
                started_at=ended.started_at,
                ended_at=ended.ended_at,
                error=ended.error,
            )
        )


def seconds_between(start: str | None, end: str | datetime | None) -> float:
    """Seconds from one time of an event to another; 0 where either is missing or the clock went back."""
    if start is None or end is None:
        return 0.0
    later = datetime.fromisoformat(end) if isinstance(end, str) else end
    return max(0.0, (later - datetime.fromisoformat(start)).total_seconds())
