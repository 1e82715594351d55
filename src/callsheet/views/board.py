"""A whole run as a dashboard shows it: one plain object, fed by its events in order. Knows no terminal and no clock.

`views.progress.RunView` is for a few lines below a command and forgets agents that ended; a board keeps every one, and
knows what changed since any event, so that a dashboard draws, and a server sends, no more than that.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import field
from datetime import datetime
from typing import assert_never

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
from callsheet.views.board_parts import (
    AgentState,
    BoardAgent,
    BoardLine,
    BoardPhase,
    PhaseKey,
    RunLimits,
    SentMessage,
)
from callsheet.views.progress import seconds_between

__all__ = ["KEPT_LOG_LINES", "Board", "BoardAgent", "BoardLine", "BoardPhase", "PhaseKey", "RunLimits", "SentMessage"]

KEPT_LOG_LINES = 2_000
"""So many of the last lines are kept; all are counted."""


@dataclass(slots=True, kw_only=True)
class Board:
    """A pure reducer over the events of one run (FORMATS 3): `apply` them in order from the first, read the fields.

    A run that is resumed begins anew with its `run.started`: what it is shown to be then is what that attempt says, and
    nothing is counted twice.

    Attributes:
        seq: Of the last event.
        began_at_seq: Of the `run.started` that counts: what was shown before it is void.
        attempt: How often the run was started, from 1.
        status: `starting`, `running`, `paused`, `stopping`, `waiting` …, at last how it ended; `reason`, `until` of it.
        agents: By id, in order of their calls.
        phases: Declared ones first, then in order of their first use.
        questions: What a person is asked and has not answered, by id, oldest first.
        outcomes: How many ended with each status.
        ended_usage: Of the agents that ended.
        warnings: Of budgets, the last one of each kind and phase.
        log_lines: How many there were; `log` holds the last of them.
        checkpoints: The last one; None where there is none.
        result: Set by the last event.
        lost: Why nothing more is heard of it: its process is gone. Set by whoever watches; no event says it.
    """

    limits: RunLimits = field(default_factory=RunLimits)
    seq: int = 0
    began_at_seq: int = 0
    attempt: int = 0
    run_id: str = ""
    workflow: str = ""
    description: str = ""
    script: str = ""
    backend: str = ""
    workspace: str = ""
    notes: tuple[str, ...] = ()
    max_parallel: int = 0
    status: str = "starting"
    reason: str | None = None
    until: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    agents: dict[str, BoardAgent] = field(default_factory=dict)
    phases: dict[PhaseKey, BoardPhase] = field(default_factory=dict)
    questions: dict[str, ApprovalAsked] = field(default_factory=dict)
    outcomes: Counter[AgentStatus] = field(default_factory=Counter)
    states: Counter[AgentState] = field(default_factory=Counter)
    reused: int = 0
    ended_usage: Usage = field(default_factory=Usage)
    live_tokens: int = 0
    warnings: dict[tuple[str, str | None], BudgetWarning] = field(default_factory=dict)
    log: deque[BoardLine] = field(default_factory=lambda: deque(maxlen=KEPT_LOG_LINES))
    log_lines: int = 0
    checkpoint: CheckpointTaken | None = None
    result: RunResult | None = None
    lost: str | None = None
    _recent: dict[str, None] = field(default_factory=dict)

    # --- what it says -----------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """Output tokens of all agents, those at work included."""
        return self.ended_usage.output_tokens + self.live_tokens

    @property
    def finished(self) -> int:
        """How many agents ended."""
        return self.states["ended"]

    @property
    def ended_badly(self) -> int:
        """How many agents ended otherwise than `ok`."""
        return self.finished - self.outcomes["ok"]

    @property
    def is_over(self) -> bool:
        """Whether no further event comes."""
        return self.result is not None or self.lost is not None

    def elapsed_s(self, now: datetime) -> float:
        """Seconds since the run's start, or that it took; 0 before."""
        if self.result is not None:
            return self.result.duration_ms / 1000
        return seconds_between(self.started_at, self.ended_at or now)

    def waits(self) -> Counter[str]:
        """How many agents wait for what."""
        return Counter(agent.doing or "?" for agent in self.agents.values() if agent.state == "waiting")

    def changed_since(self, seq: int) -> Iterator[BoardAgent]:
        """Agents that an event with a greater number changed, the last one first. Costs no more than there are."""
        for agent_id in reversed(self._recent):
            agent = self.agents[agent_id]
            if agent.changed_at <= seq:
                return
            yield agent

    def phases_changed_since(self, seq: int) -> list[BoardPhase]:
        """Phases that an event with a greater number changed, in their order."""
        return [phase for phase in self.phases.values() if phase.changed_at > seq]

    def log_since(self, seq: int) -> list[BoardLine]:
        """The lines of the log after an event, of those that are kept."""
        found: list[BoardLine] = []
        for line in reversed(self.log):
            if line.seq <= seq:
                break
            found.append(line)
        return found[::-1]

    # --- what happens -----------------------------------------------------------------------------------------------

    def apply_all(self, events: Iterable[Event]) -> None:
        """Takes the next events."""
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Takes the next event; one that it has had already changes nothing."""
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        body = event.body
        match body:
            case RunStarted():
                self._start(event, body)
            case RunStatusChanged():
                self.status, self.reason, self.until = body.status, body.reason, body.until
            case RunFinished():
                self._finish(event, body)
            case PhaseStarted():
                self._phase(body.workflow, body.title).is_entered = True
            case AgentQueued():
                self._queue(event, body)
            case AgentStarted():
                self._begin(event, body)
            case AgentProgress():
                self._progress(body)
            case AgentWaiting():
                self._wait(body)
            case AgentFinished():
                self._end(event, body)
            case AgentControlled():
                self._controlled(event, body)
            case ApprovalAsked():
                self.questions[body.id] = body
            case ApprovalAnswered():
                self._answer(body)
            case BudgetWarning():
                self.warnings[(body.kind, body.phase)] = body
            case Log():
                self._say(event, body.level, body.message, body.workflow, body.by)
            case CheckpointTaken():
                self.checkpoint = body
            case CheckpointRestored():
                whose = f"what {body.agent_id} changed" if body.agent_id else f"the state of checkpoint {body.n}"
                verb = "was taken back" if body.agent_id else "was brought back"
                self._say(event, "info", f"{whose} {verb}", None, "host")
            case _:
                assert_never(body)

    def _start(self, event: Event, body: RunStarted) -> None:
        fresh = Board(limits=self.limits, seq=event.seq, began_at_seq=event.seq, attempt=self.attempt + 1)
        fresh.log, fresh.log_lines = self.log, self.log_lines
        for name in Board.__slots__:
            setattr(self, name, getattr(fresh, name))
        self.run_id, self.started_at, self.status = event.run_id, event.at, "running"
        self.workflow, self.description, self.script = body.workflow, body.description, body.script
        self.backend, self.workspace, self.notes = body.backend, body.workspace, body.notes
        self.max_parallel = body.max_parallel
        for declared in body.phases:
            self._phase(None, declared.title).detail = declared.detail

    def _finish(self, event: Event, body: RunFinished) -> None:
        result = body.result
        self.status, self.reason, self.until = result.status, None, None
        self.result, self.ended_at = result, event.at
        self.questions.clear()
        for summary in result.agents:  # the end of the run knows best what became of worktrees
            agent = self.agents.get(summary.agent_id)
            if agent is not None and summary.worktree is not None:
                agent.branch = summary.worktree.branch
                self._touch(agent)

    def _phase(self, workflow: str | None, title: str | None) -> BoardPhase:
        key = (workflow, title)
        phase = self.phases.get(key)
        if phase is None:
            phase = self.phases[key] = BoardPhase(title=title, workflow=workflow)
        phase.changed_at = self.seq
        return phase

    def _touch(self, agent: BoardAgent) -> None:
        agent.changed_at = self.seq
        self._recent.pop(agent.agent_id, None)
        self._recent[agent.agent_id] = None

    def _move(self, agent: BoardAgent, state: AgentState) -> BoardPhase:
        """Puts an agent where it is counted from now on; gives its phase."""
        phase = self._phase(agent.workflow, agent.phase)
        if agent.state != state:
            setattr(phase, agent.state, getattr(phase, agent.state) - 1)
            setattr(phase, state, getattr(phase, state) + 1)
            self.states[agent.state] -= 1
            self.states[state] += 1
            agent.state = state
        self._touch(agent)
        return phase

    def _add(self, agent: BoardAgent) -> None:
        self.agents[agent.agent_id] = agent
        self.states[agent.state] += 1
        phase = self._phase(agent.workflow, agent.phase)
        setattr(phase, agent.state, getattr(phase, agent.state) + 1)
        self._touch(agent)

    def _queue(self, event: Event, body: AgentQueued) -> None:
        if body.agent_id in self.agents:
            return
        self._add(
            BoardAgent(
                agent_id=body.agent_id,
                call=body.call,
                label=body.label,
                phase=body.phase,
                workflow=body.workflow,
                context=body.context,
                queued_at=event.at,
            )
        )

    def _at_work(self, agent_id: str) -> BoardAgent | None:
        agent = self.agents.get(agent_id)
        return None if agent is None or agent.state == "ended" else agent

    def _begin(self, event: Event, body: AgentStarted) -> None:
        agent = self._at_work(body.agent_id)
        if agent is None:
            return
        phase = self._move(agent, "running")
        agent.model, agent.backend = body.model, body.backend
        agent.started_at = agent.started_at or event.at
        agent.doing = agent.until = agent.reason = None
        phase.started_at = phase.started_at or event.at

    def _progress(self, body: AgentProgress) -> None:
        agent = self._at_work(body.agent_id)
        if agent is None:
            return
        phase = self._move(agent, "running")
        agent.until = agent.reason = None
        if body.tool is not None:
            agent.doing = f"{body.tool} {body.tool_summary}" if body.tool_summary else body.tool
            if body.tool not in agent.tools_called:
                agent.tools_called += (body.tool,)
        self._spend(agent, phase, body.tokens)

    def _spend(self, agent: BoardAgent, phase: BoardPhase, tokens: int) -> None:
        more = tokens - agent.usage.output_tokens
        if more:
            agent.usage = Usage(output_tokens=tokens, cost_usd=None)
            self.live_tokens += more
            phase.usage += Usage(output_tokens=more)

    def _wait(self, body: AgentWaiting) -> None:
        agent = self._at_work(body.agent_id)
        if agent is not None:
            self._move(agent, "waiting")
            agent.doing, agent.until, agent.reason = body.why, body.until, body.reason

    def _controlled(self, event: Event, body: AgentControlled) -> None:
        agent = self._at_work(body.agent_id)
        if agent is None:
            return
        self._touch(agent)
        match body.action:
            case "message":
                agent.messages += (SentMessage(by=body.by, text=body.text or "", at=event.at),)
            case "message_taken":
                agent.took_message()
            case "restart":
                if agent.started_at is not None:
                    self._move(agent, "running")
                agent.attempt, agent.doing, agent.until, agent.reason = body.attempt, None, None, None
                agent.asked_to = None
            case "skip" | "stop":
                agent.asked_to = body.action
            case _:
                assert_never(body.action)

    def _answer(self, body: ApprovalAnswered) -> None:
        asked = self.questions.pop(body.id, None)
        for agent_id in asked.agent_ids if asked is not None else ():
            agent = self._at_work(agent_id)
            if agent is not None and agent.state == "waiting":
                agent.doing, agent.until, agent.reason = "its turn", None, None
                self._touch(agent)

    def _end(self, event: Event, body: AgentFinished) -> None:
        ended = body.agent
        agent = self.agents.get(ended.agent_id)
        if agent is None:
            agent = BoardAgent(
                agent_id=ended.agent_id,
                call=ended.call,
                label=ended.label,
                phase=ended.phase,
                workflow=ended.workflow,
                queued_at=ended.queued_at,
            )
            self._add(agent)
        if agent.state == "ended":
            return
        phase = self._move(agent, "ended")
        live = agent.usage.output_tokens
        self.live_tokens -= live
        agent.took_end(ended, body.result_preview, event.at)
        self.outcomes[ended.status] += 1
        self.reused += ended.reused
        self.ended_usage += ended.usage
        phase.took_end(agent, counted=live)

    def _say(self, event: Event, level: str, message: str, workflow: str | None, by: str | None) -> None:
        self.log_lines += 1
        self.log.append(BoardLine(seq=event.seq, at=event.at, level=level, message=message, workflow=workflow, by=by))
