"""Events and results, out to public JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callsheet.model import events as bodies
from callsheet.model.events import EVENT_NAMES, Event, EventBody, RunFinished
from callsheet.model.outcome import AgentWorktree, Usage
from callsheet.model.past import CallExplained, ResumeReport
from callsheet.model.public import event_json
from callsheet.model.recorded import recorded_event, recorded_result
from callsheet.model.run import AgentSummary, Denial, LogLine, PhaseSummary, Problem, RunError, RunResult, RunWorktree
from callsheet.model.sandbox import Confinement
from callsheet.model.script import DeclaredPhase

AT = "2026-11-21T08:00:00.123Z"
AGENT = AgentSummary(
    agent_id="a0001", call=1, label="find:ü", phase=None, workflow="inner", status="ok", reused=True, model="m",
    backend="b", attempts=2, usage=Usage(input_tokens=1, cost_usd=None), files_read=("a",), files_changed=("b", "c"),
    tools_called=(), queued_at=AT, started_at=AT, ended_at=None, error=None, answer_attempts=3,
    worktree=AgentWorktree(name="w", branch="br", merged=True),
)  # fmt: skip
RESULT = RunResult(
    run_id="run_X", workflow=None, script="s.js", status="degraded", backend="b", result={"x": [1, None, "ü"]},
    error=RunError(kind="script", message="m", line=3), logs=(LogLine(level="warn", message="l", at=AT),),
    phases=(PhaseSummary(title=None, agents=1),), agents=(AGENT,),
    problems=(Problem(where="agent", cause="denied", message="m", next="n", count=4),),
    denials=(Denial(tool="bash", input="x", rule="r", agents=2, would_allow=("a", "b")),),
    usage=Usage(output_tokens=5, cost_usd=0.5, estimated_usd=0.25), by_model={"m": Usage(cost_usd=None)},
    duration_ms=7, worktree=RunWorktree(changed=True, branch="callsheet/run_X"),
    resumed=ResumeReport(
        attempt=2, reused=1, live=0, gone=("a0009",),
        calls=(CallExplained(call=1, agent_id="a0001", label="l", reused=False, why="w", changed=("prompt",)),),
    ),
)  # fmt: skip
EVERY: tuple[EventBody, ...] = (
    bodies.RunStarted(
        workflow="w", description="d", script="s", backend="b", workspace="/w", max_parallel=3, notes=("n",),
        phases=(DeclaredPhase(title="t"),), confinement=Confinement(system_calls=True, detail="x"),
    ),
    bodies.RunStatusChanged(status="waiting", reason="r", until=AT),
    RunFinished(result=RESULT),
    bodies.PhaseStarted(title="t", workflow="w"),
    bodies.Log(level="error", message="m"),
    bodies.AgentQueued(agent_id="a0001", call=1, label="l", phase=None, workflow=None, seen=4, context=2),
    bodies.AgentStarted(agent_id="a0001", model=None, backend="b"),
    bodies.AgentProgress(agent_id="a0001", tool="read", tool_summary=None, tokens=3),
    bodies.AgentWaiting(agent_id="a0001", why="service", until=None),
    bodies.AgentFinished(agent=AGENT, result_preview="p"),
    bodies.AgentControlled(agent_id="a0001", action="message", by="me", text="t", attempt=2),
    bodies.ApprovalAsked(
        id="q1", tool="bash", input="i", reason="r", rules=("x",), agents=1, agent_ids=("a0001",), until=None
    ),
    bodies.ApprovalAnswered(id="q1", verdict="once", by="me", agents=1),
    bodies.BudgetWarning(kind="tokens", spent=1.0, total=2.0, share=0.5, phase="t"),
    bodies.CheckpointTaken(n=1, commit_id="c", left_out=(("big.bin", "too big"),)),
    bodies.CheckpointRestored(
        n=0, written=("a",), removed=("b",), left=(("c", "changed since"),), reverted=("a0001",)
    ),
)  # fmt: skip


def test_every_kind_of_event_is_tried() -> None:
    assert {type(body) for body in EVERY} == set(EVENT_NAMES)


@pytest.mark.parametrize("body", EVERY, ids=lambda body: EVENT_NAMES[type(body)])
def test_an_event_comes_back_as_it_was(body: EventBody) -> None:
    event = Event(run_id="run_X", seq=9, at=AT, body=body)

    assert recorded_event(json.loads(json.dumps(event_json(event)))) == event


def public(**changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(json.dumps(event_json(Event(run_id="run_X", seq=9, at=AT, body=EVERY[5]))))
    return said | changes


def test_what_an_older_version_did_not_write_has_its_default() -> None:
    older = public()
    del older["seen"], older["context"]

    event = recorded_event(older)

    assert event is not None and isinstance(event.body, bodies.AgentQueued)
    assert (event.body.seen, event.body.context) == (None, 0)


def test_what_a_newer_version_wrote_besides_is_passed_over() -> None:
    event = recorded_event(public(mood="good"))

    assert event is not None and event.body == EVERY[5]


@pytest.mark.parametrize(
    "said",
    [
        {},
        public(event="agent.sang"),
        public(call="one"),
        public(label=None),
        {"event": "agent.queued", "run_id": "run_X", "seq": 1, "at": AT},
        {"event": "run.finished", "run_id": "run_X", "seq": 1, "at": AT, "agents": 7, "usage": []},
    ],
)
def test_what_is_damaged_or_unknown_is_none(said: dict[str, Any]) -> None:
    assert recorded_event(said) is None
    assert recorded_result(said) is None
