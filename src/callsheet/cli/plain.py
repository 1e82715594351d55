"""Progress as plain lines, for logs and pipes: a line for each thing that happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import TextIO, assert_never

from callsheet.cli.follower import View
from callsheet.cli.streams import write_lines
from callsheet.model.approval import Verdict
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
    ControlAction,
    Event,
    Log,
    PhaseStarted,
    RunFinished,
    RunStarted,
    RunStatusChanged,
)
from callsheet.model.run import AgentSummary
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.progress import RunView, seconds_between
from callsheet.views.safe_text import defused, indented, one_line, under_github, visible

LABEL_CHARS = 60


class PlainLines(View):
    """Writes a line for each event that a person would want to read afterwards."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._view = RunView()
        self._is_defusing = under_github()
        self._reason: str | None = None

    def show(self, events: list[Event], remarks: list[str]) -> None:
        """Writes the lines of some events, then our own."""
        lines: list[str] = []
        for first, *alike in _together(events):
            lines += self._lines(first, 1 + len(alike))
            for event in alike:
                self._view.apply(event)
        lines += remarks
        write_lines(self._stream, [defused(line) for line in lines] if self._is_defusing else lines)

    def tick(self) -> None:
        """Nothing to do."""

    def pause(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def _lines(self, event: Event, agents: int = 1) -> Iterator[str]:
        label = self._label_of(event)
        known = self._question_of(event)
        self._view.apply(event)
        body = event.body
        at = self._clock(event.at)
        match body:
            case RunStarted():
                yield from started_lines(body, event.run_id)
            case PhaseStarted():
                where = f"{one_line(body.workflow, LABEL_CHARS)}: " if body.workflow else ""
                yield f"{at} phase {where}{one_line(body.title)}"
            case Log():
                yield log_line(body, at)
            case AgentStarted():
                model = f" ({one_line(body.model)})" if body.model else ""
                yield f"{at} started {body.agent_id} {label}{model}"
            case AgentWaiting(why="approval"):
                yield f"{at} waiting {body.agent_id} {label}: {body.why}"
            case AgentWaiting():
                who = f"{body.agent_id} {label}" if agents == 1 else count(agents, "agent")
                until = f" until {body.until}" if body.until else ""
                yield f"{at} waiting {who}: {one_line(body.why)}{until}{self._news_of(body.reason)}"
            case AgentFinished():
                yield f"{at} {ended_line(body.agent)}"
            case RunStatusChanged():
                reason = f": {one_line(body.reason)}" if body.reason else ""
                yield f"{at} {one_line(body.status)}{reason}"
            case ApprovalAsked():
                if known is None:
                    yield f"{at} {asked_line(body)}"
            case ApprovalAnswered():
                yield f"{at} {answered_line(body, known)}"
            case AgentControlled():
                text = f": {one_line(body.text, 120)}" if body.text else ""
                yield f"{at} {_DEEDS[body.action]} {body.agent_id} {label} · {one_line(body.by)}{text}"
            case RunFinished() | AgentQueued() | AgentProgress() | CheckpointTaken() | CheckpointRestored():
                pass
            case BudgetWarning():  # the log says it too
                pass
            case _:
                assert_never(body)

    def _news_of(self, reason: str | None) -> str:
        """Why something is waited for; not again what was said last."""
        if reason is None or reason == self._reason:
            return ""
        self._reason = reason
        return f": {one_line(reason, 300)}"

    def _label_of(self, event: Event) -> str:
        body = event.body
        match body:
            case AgentStarted():
                agent = self._view.queue.get(body.agent_id)
            case AgentWaiting() | AgentControlled():
                agent = self._view.at_work.get(body.agent_id) or self._view.queue.get(body.agent_id)
            case _:
                return ""
        return one_line(agent.label, LABEL_CHARS) if agent is not None else ""

    def _question_of(self, event: Event) -> ApprovalAsked | None:
        """What is already known of the question that an event is about."""
        body = event.body
        return self._view.questions.get(body.id) if isinstance(body, ApprovalAsked | ApprovalAnswered) else None

    def _clock(self, at: str) -> str:
        return f"[{self._view.elapsed_s(datetime.fromisoformat(at)):7.1f} s]"


def _together(events: list[Event]) -> Iterator[list[Event]]:
    """The events, those in one that say of several agents, one after the other, that they wait for the same."""
    for _, group in groupby(events, lambda event: _waits_for(event) or event.seq):
        yield list(group)


def _waits_for(event: Event) -> tuple[str | None, ...] | None:
    body = event.body
    return (body.why, body.until, body.reason) if isinstance(body, AgentWaiting) and body.until is not None else None


def started_lines(body: RunStarted, run_id: str) -> Iterator[str]:
    """What a run is, before anything of it happens."""
    yield f"{one_line(body.workflow)}: {one_line(body.description)}"
    at_once = f"{count(body.max_parallel, 'agent')} at a time"
    yield f"{run_id} · backend: {body.backend} · {at_once} · {visible(body.workspace)}"
    for note in body.notes:
        yield f"note: {visible(note)}"


def log_line(body: Log, at: str = "") -> str:
    """A line of the run's log; its further lines are indented, so that none of them looks like one of ours."""
    level = "" if body.level == "info" else f"{body.level}: "
    where = f"{one_line(body.workflow, LABEL_CHARS)}: " if body.workflow else ""
    head = f"{at} " if at else ""
    return f"{head}log: {where}{level}{indented(visible(body.message))}"


def ended_line(agent: AgentSummary) -> str:
    """How an agent ended, in one line."""
    took = duration(seconds_between(agent.started_at, agent.ended_at)) if agent.started_at else "never started"
    parts = [
        f"{agent.status:<9} {agent.agent_id} {one_line(agent.label, LABEL_CHARS)}",
        "reused" if agent.reused else took,
        f"{tokens(agent.usage.output_tokens)} tokens",
        money(agent.usage.cost_usd),
    ]
    if agent.error is not None:
        parts.append(one_line(agent.error, 300))
    return " · ".join(parts)


def asked_line(body: ApprovalAsked) -> str:
    """What a person is asked, in one line."""
    if body.script is not None:
        return f"asks {body.id} whether the script {one_line(body.script.name, LABEL_CHARS)} is to run"
    waiting = f"{count(body.agents, 'agent')} waiting"
    what = body.input.partition("\n")[0] if body.kind == "cost" else body.input
    return f"asks {body.id} {one_line(body.tool)} {one_line(what, 120)} · {waiting}"


_VERDICTS: dict[Verdict, str] = {
    "once": "allowed once",
    "run": "allowed for this run",
    "project": "allowed for this project",
    "deny": "denied",
    "unanswered": "not answered",
    "changed": "looked at again",
}


def answered_line(body: ApprovalAnswered, asked: ApprovalAsked | None) -> str:
    """What became of a question, in one line."""
    if asked is not None and asked.kind == "cost":
        more = "" if body.more_usd is None else f"{money(body.more_usd)} more"
        how = {"once": more, "run": "no limit", "project": "no limit", "deny": "stops here"}
        return (
            f"{one_line(asked.tool)} {body.id}: {how.get(body.verdict, _VERDICTS[body.verdict])} · {one_line(body.by)}"
        )
    if asked is not None and asked.script is not None:
        how = {"once": "runs", "run": "runs, and all after it", "project": "runs, and all after it", "deny": "declined"}
        name = one_line(asked.script.name, LABEL_CHARS)
        return f"script {name} {body.id}: {how.get(body.verdict, _VERDICTS[body.verdict])} · {one_line(body.by)}"
    what = "" if asked is None else f" {one_line(asked.tool)} {one_line(asked.input, 80)}"
    agents = f" · {count(body.agents, 'agent')}" if body.agents else ""
    return f"{_VERDICTS[body.verdict]} {body.id}{what} · {one_line(body.by)}{agents}"


_DEEDS: dict[ControlAction, str] = {
    "message": "message to",
    "message_taken": "message taken by",
    "skip": "skips",
    "stop": "stops",
    "restart": "starts over",
}
