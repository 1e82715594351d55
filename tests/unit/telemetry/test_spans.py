"""What becomes a span, from events and reports in any order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from callsheet.executors.local import LocalExecutor
from callsheet.model.call import AgentTask
from callsheet.model.events import AgentFinished, AgentQueued, AgentStarted, Event, EventBody, RunStarted
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.reports import MessageAdded, Progress, ToolCalled
from callsheet.model.run import AgentSummary
from callsheet.model.sandbox import Confinement
from callsheet.model.spending import Need, Paid
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter
from callsheet.telemetry.content import MAX_PARTS, MAX_TEXT_CHARS, messages_json
from callsheet.telemetry.observing import ObservedExecutor
from callsheet.telemetry.spans import RunTrace
from callsheet.telemetry.work import Making
from tests.support.agents import RecordingReporter, agent_task
from tests.support.fake_backend import FakeBackend, ok

pytestmark = pytest.mark.anyio
STAMP = "2026-11-21T08:00:00.000Z"
NEED = Need(model="claude-x", output_tokens=100, enough_tokens=10, fixed_usd=None, output_usd=None)
REPLY: JsonValue = {"role": "assistant", "model": "claude-x-1", "content": [{"type": "text", "text": "hi"}]}


class Stage:
    """A run whose events and agents a test plays."""

    def __init__(
        self,
        act: Callable[[AgentTask, AgentReporter], Any],
        *,
        captures: bool = False,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.taken = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.taken))
        making = Making(tracer=provider.get_tracer("test"), redact=redact, service="vertex", captures=captures)
        self.trace = RunTrace(making, started_ns=1)
        self.trace.begin(run_id="run_1", workflow="case", backend="anthropic", attempt=1, earlier="no such thing")
        self._seq = 0
        self._act = act
        self.play(
            RunStarted(
                workflow="case",
                description="",
                script="case.js",
                backend="anthropic",
                workspace="/",
                phases=(),
                confinement=Confinement(system_calls=True, detail=""),
                max_parallel=1,
            )
        )

    def play(self, *bodies: EventBody) -> None:
        for body in bodies:
            self._seq += 1
            self.trace.on_event(Event(run_id="run_1", seq=self._seq, at=STAMP, body=body))

    async def work(self, task: AgentTask) -> None:
        backend = FakeBackend("anthropic", acts={task.label: self._act})
        async with LocalExecutor({"anthropic": backend}) as executor:
            handle = await ObservedExecutor(executor, self.trace.work_of).submit(task, RecordingReporter())
            await handle.outcome()

    def spans(self, start: str) -> list[ReadableSpan]:
        return [span for span in self.taken.get_finished_spans() if span.name.startswith(start)]


QUEUED = AgentQueued(agent_id="a0001", call=1, label="worker", phase=None, workflow=None)
STARTED = AgentStarted(agent_id="a0001", model=None, backend="anthropic")


def finished(**more: Any) -> AgentFinished:
    given: dict[str, Any] = {
        "agent_id": "a0001",
        "call": 1,
        "label": "worker",
        "phase": None,
        "workflow": None,
        "status": "ok",
        "reused": False,
        "model": None,
        "backend": "anthropic",
        "attempts": 1,
        "usage": Usage(output_tokens=5),
        "files_read": (),
        "files_changed": (),
        "tools_called": (),
        "queued_at": STAMP,
        "started_at": STAMP,
        "ended_at": STAMP,
        "error": None,
    }
    return AgentFinished(agent=AgentSummary(**{**given, **more}), result_preview=None)


async def asks(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
    """One request, answered; one that is never sent; one that breaks off; one that is left open, and a tool too."""
    grant = await reporter.reserve(NEED)
    await reporter.report(MessageAdded(payload=REPLY, paid=Paid(n=grant.n, usage=Usage(output_tokens=5))))
    unsent = await reporter.reserve(NEED)
    await reporter.report(Paid(n=unsent.n, usage=Usage()))
    broken = await reporter.reserve(NEED)
    await reporter.report(Paid(n=broken.n, usage=Usage(output_tokens=2), fault="overloaded_error"))
    await reporter.report(Progress(tool="read"))
    await reporter.report(ToolCalled(n=1, tool="read", input={}, state="done"))
    await reporter.report(ToolCalled(n=2, tool="mcp__db__write", input={}, state="intent"))
    await reporter.reserve(NEED)
    return ok()


async def test_what_is_left_open_was_cancelled_and_what_was_never_sent_is_no_request(tmp_path: Path) -> None:
    stage = Stage(asks)
    stage.play(QUEUED, STARTED)
    await stage.work(agent_task(tmp_path))
    stage.play(finished())

    chats = [span.attributes or {} for span in stage.spans("chat claude-x")]
    assert [chat.get("error.type") for chat in chats] == [None, "overloaded_error", "cancelled"]
    assert [chat.get("gen_ai.usage.output_tokens") for chat in chats] == [5, 2, None]
    assert {chat["gen_ai.provider.name"] for chat in chats} == {"gcp.vertex_ai"}
    tools = [span.attributes or {} for span in stage.spans("execute_tool")]
    assert [(tool["gen_ai.tool.type"], tool.get("error.type")) for tool in tools] == [
        ("function", None),
        ("extension", "cancelled"),
    ]


async def test_reports_that_come_before_the_agents_event_go_beneath_it_and_those_after_its_end_are_dropped(
    tmp_path: Path,
) -> None:
    kept: list[AgentReporter] = []

    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        kept.append(reporter)
        return await asks(task, reporter)

    stage = Stage(act)
    await stage.work(agent_task(tmp_path))
    assert stage.taken.get_finished_spans() == ()
    stage.play(QUEUED, STARTED, finished())
    (agent,) = stage.spans("invoke_agent general-purpose")
    below = [*stage.spans("chat"), *stage.spans("execute_tool")]
    assert len(below) == 5
    assert {span.parent.span_id for span in below if span.parent} == {agent.context.span_id}

    await kept[0].report(ToolCalled(n=9, tool="late", input={}, state="done"))
    assert stage.spans("execute_tool late") == []


async def test_a_run_that_breaks_ends_what_is_open_and_one_that_was_refused_leaves_nothing(tmp_path: Path) -> None:
    stage = Stage(asks)
    stage.play(QUEUED, STARTED)
    await stage.work(agent_task(tmp_path))
    stage.trace.close()
    assert [(span.attributes or {}).get("error.type") for span in stage.spans("invoke_workflow")] == ["_OTHER"]
    assert len(stage.spans("invoke_agent")) == 1

    making = Making(tracer=TracerProvider().get_tracer("x"), redact=str, service="anthropic", captures=False)
    refused = RunTrace(making, started_ns=1)
    assert refused.begin(run_id="r", workflow="w", backend="b", attempt=1, earlier=None).startswith("00-")
    refused.close()
    refused.on_event(Event(run_id="r", seq=1, at=STAMP, body=STARTED))


async def test_what_is_said_is_part_of_spans_where_that_is_asked_for_and_without_secrets(tmp_path: Path) -> None:
    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        turns: list[tuple[Any, Any]] = [
            ({"type": "text", "text": "look"}, {"type": "tool_use", "id": "t", "name": "read", "input": {"p": "a"}}),
            ({"type": "tool_result", "tool_use_id": "t", "content": "a secret"}, {"type": "text", "text": "done"}),
        ]
        for said, content in turns:
            await reporter.report(MessageAdded(payload={"role": "user", "content": [said]}))
            grant = await reporter.reserve(NEED)
            reply: Any = {"role": "assistant", "stop_reason": "end_turn", "content": [content]}
            await reporter.report(MessageAdded(payload=reply, paid=Paid(n=grant.n, usage=Usage())))
        await reporter.report(ToolCalled(n=1, tool="write", input={"text": "a secret"}, state="done"))
        return ok()

    def played(captures: bool) -> Stage:
        stage = Stage(act, captures=captures, redact=lambda text: text.replace("secret", "‹›"))
        stage.play(QUEUED, STARTED)
        return stage

    stage, silent = played(True), played(False)
    for each in (stage, silent):
        await each.work(agent_task(tmp_path, "do a secret thing"))
        each.play(finished(status="failed", error="no secret"))

    first, second = [span.attributes or {} for span in stage.spans("chat")]
    assert json.loads(str(first["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": "look"}]}
    ]
    assert json.loads(str(first["gen_ai.output.messages"])) == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "t", "name": "read", "arguments": '{"p": "a"}'}],
            "finish_reason": "end_turn",
        }
    ]
    assert json.loads(str(second["gen_ai.input.messages"])) == [  # what is new since the reply before
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "t", "response": "a ‹›"}]}
    ]
    (tool,) = stage.spans("execute_tool")
    assert (tool.attributes or {})["gen_ai.tool.call.arguments"] == '{"text": "a ‹›"}'
    (agent,) = stage.spans("invoke_agent")
    assert "do a ‹› thing" in str((agent.attributes or {})["gen_ai.input.messages"])
    assert agent.status.description == "no secret"  # redacted with its event

    said = "".join(span.to_json() for span in silent.taken.get_finished_spans())
    for text in ("look", "secret", "done", "‹›"):
        assert text not in said


async def test_text_that_no_protocol_can_hold_costs_no_span(tmp_path: Path) -> None:
    async def act(task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        await reporter.report(ToolCalled(n=1, tool="\ud800" * 500, input={"a": "\udfff", "b": [{}]}, state="failed"))
        grant = await reporter.reserve(NEED)
        content = [{"type": "text", "text": "\ud800"}, {"type": "odd\ud800"}, 7, {"type": "tool_result"}]
        payload: Any = {"role": "assistant", "id": "\ud800", "stop_reason": None, "content": content}
        await reporter.report(MessageAdded(payload=payload, paid=Paid(n=grant.n, usage=Usage())))
        return ok()

    stage = Stage(act, captures=True)
    stage.play(QUEUED, STARTED)
    await stage.work(agent_task(tmp_path, "prompt \ud800"))
    stage.play(finished())
    assert len(stage.taken.get_finished_spans()) == 3
    for span in stage.taken.get_finished_spans():
        assert all(len(str(value)) < 1_000 for value in (span.attributes or {}).values())
        f"{span.name}{span.attributes}".encode()


def test_content_is_cut_to_what_a_collector_takes() -> None:
    many: list[Any] = [{"type": "text", "text": "x" * 100_000}] * 1_000
    (message,) = json.loads(messages_json([{"role": "user", "content": many}], str))
    assert len(message["parts"]) == MAX_PARTS
    assert {len(part["content"]) for part in message["parts"]} == {MAX_TEXT_CHARS}
