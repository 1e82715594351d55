"""What one agent does, told by its reports: requests to a model and calls of tools, each a span of its own.

A span is made when what it stands for is over, with the times that were noted: so nothing is left open where an agent
is cancelled, and what comes before the agent's own span is there waits for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage
from callsheet.model.reports import MessageAdded, ToolCalled
from callsheet.model.spending import Grant, Need, Paid
from callsheet.model.values import JsonValue
from callsheet.telemetry import names
from callsheet.telemetry.content import MAX_PARTS, arguments_json, clean, cut, messages_json, text_json

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

MAX_NAME_CHARS = 200
CANCELLED = "cancelled"
NO_TOOL = ("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What spans of a run are made with.

    Attributes:
        redact: Replaces secrets in a text.
        service: Where the models of backend `anthropic` are had.
        captures: Prompts, answers and what tools are given are part of spans.
        now_ns: The time of day, in nanoseconds since the epoch.
    """

    tracer: Tracer
    redact: Callable[[str], str]
    service: str
    captures: bool
    now_ns: Callable[[], int] = time.time_ns

    def named(self, text: str) -> str:
        """A name, as it may go out."""
        return cut(self.redact(clean(text)), MAX_NAME_CHARS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A request to a model that is under way."""

    started_ns: int
    model: str
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A span that waits for the one above it."""

    name: str
    kind: SpanKind
    attributes: names.Attributes
    started_ns: int
    ended_ns: int


class AgentWork:
    """One agent, over all its attempts.

    Attributes:
        last_ns: When the last of what it did was over; 0 before.
    """

    def __init__(self, making: Making) -> None:
        self._making = making
        self._task: AgentTask | None = None
        self._span: Span | None = None
        self._context: Context | None = None
        self._requests: dict[int, _Request] = {}
        self._tools: dict[int, tuple[int, ToolCalled]] = {}
        self._begun = NO_TOOL
        self._said: list[JsonValue] = []
        self._waiting: list[_Done] = []
        self._is_over = False
        self.last_ns = 0

    # --- the agent itself -------------------------------------------------------------------------------------------

    def began(self, span: Span) -> None:
        """It has its span; what came before goes beneath that."""
        self._span, self._context = span, set_span_in_context(span)
        self._name_span()
        for done in self._waiting:
            self._make(done)
        self._waiting.clear()

    def given(self, task: AgentTask) -> None:
        """An attempt at the call begins; what the one before left open was cancelled."""
        self._close()
        self._task = task
        self._name_span()

    def ended(self) -> None:
        """Nothing of it is taken any more; what is open was cancelled."""
        self._close()
        self._is_over = True

    def _name_span(self) -> None:
        """Names the agent as its script does; a label that is the beginning of a prompt is none."""
        span, task = self._span, self._task
        if span is None or task is None:
            return
        name = self._name
        span.update_name(f"invoke_agent {name}")
        span.set_attribute(names.AGENT_NAME, name)
        span.set_attribute(names.AGENT_TYPE, self._making.named(task.agent_type.name))
        if task.options.schema is not None:
            span.set_attribute(names.OUTPUT_TYPE, "json")
        if self._making.captures:
            span.set_attribute(names.INPUT_MESSAGES, text_json("user", task.prompt, self._making.redact))

    @property
    def _name(self) -> str:
        task = self._task
        assert task is not None
        return self._making.named(task.label if task.options.label else task.agent_type.name)

    # --- requests to a model ----------------------------------------------------------------------------------------

    def requested(self, grant: Grant, need: Need) -> None:
        """A request may be sent."""
        self._requests[grant.n] = _Request(
            started_ns=self._making.now_ns(), model=self._making.named(need.model), max_tokens=grant.output_tokens
        )

    def said(self, report: MessageAdded) -> None:
        """A message was added; one that was paid for is the reply to a request."""
        payload = report.payload
        request = None if report.paid is None else self._requests.pop(report.paid.n, None)
        if request is not None and report.paid is not None:
            self._replied(request, payload if isinstance(payload, dict) else {}, report.paid.usage)
        elif self._making.captures:
            self._said = [*self._said[1 - MAX_PARTS :], payload]

    def paid(self, paid: Paid) -> None:
        """A request is over that came to no message; one that was never sent is not spoken of."""
        request = self._requests.pop(paid.n, None)
        if request is None or (paid.fault is None and paid.usage == Usage()):
            return
        fault = self._making.named(paid.fault or names.UNKNOWN_FAULT)
        self._chat(request, {names.ERROR_TYPE: fault}, paid.usage)

    def _replied(self, request: _Request, reply: dict[str, Any], usage: Usage) -> None:
        found: names.Attributes = {}
        for name, key in ((names.RESPONSE_MODEL, "model"), (names.RESPONSE_ID, "id")):
            if isinstance(value := reply.get(key), str):
                found[name] = self._making.named(value)
        if isinstance(reason := reply.get("stop_reason"), str):
            found[names.FINISH_REASONS] = [self._making.named(reason)]
        if self._making.captures:
            found[names.INPUT_MESSAGES] = messages_json(self._said, self._making.redact)
            found[names.OUTPUT_MESSAGES] = messages_json([reply], self._making.redact)
            self._said = []
        self._chat(request, found, usage)

    def _chat(self, request: _Request, more: names.Attributes, usage: Usage) -> None:
        has_service = self._provider != names.NO_SERVICE
        if self._task is not None and self._task.backend == "anthropic":
            more[names.STREAM] = True
        self._done(
            f"chat {request.model}",
            SpanKind.CLIENT if has_service else SpanKind.INTERNAL,
            {
                names.OPERATION: "chat",
                names.REQUEST_MODEL: request.model,
                names.MAX_TOKENS: request.max_tokens,
                **_used(usage),
                **more,
            },
            started_ns=request.started_ns,
        )

    # --- tools ------------------------------------------------------------------------------------------------------

    def begun(self, tool: str) -> None:
        """It is at a tool now. Of one that changes nothing that is all that is said before its end."""
        self._begun = (tool, self._making.now_ns())

    def called(self, call: ToolCalled) -> None:
        """A tool is about to change something; or a call is over."""
        if call.state == "intent":
            self._tools[call.n] = (self._making.now_ns(), call)
            return
        tool, begun_ns = self._begun
        self._begun = NO_TOOL
        started_ns = begun_ns if tool == call.tool else self._making.now_ns()
        if call.n in self._tools:
            started_ns, _ = self._tools.pop(call.n)
        self._tool(call, started_ns, fault=None if call.state == "done" else call.state)

    def _tool(self, call: ToolCalled, started_ns: int, *, fault: str | None) -> None:
        name = self._making.named(call.tool)
        found: names.Attributes = {
            names.OPERATION: "execute_tool",
            names.TOOL_NAME: name,
            names.TOOL_TYPE: "extension" if name.startswith("mcp__") else "function",
        }
        if self._making.captures:
            found[names.TOOL_ARGUMENTS] = arguments_json(call.input, self._making.redact)
        if fault is not None:
            found[names.ERROR_TYPE] = fault
        self._done(f"execute_tool {name}", SpanKind.INTERNAL, found, started_ns=started_ns)

    # --- spans ------------------------------------------------------------------------------------------------------

    @property
    def _provider(self) -> str:
        return names.provider_of("" if self._task is None else self._task.backend, self._making.service)

    def _close(self) -> None:
        requests, tools = self._requests, self._tools
        self._requests, self._tools, self._begun = {}, {}, NO_TOOL
        for request in requests.values() if self._has_requests else ():
            self._chat(request, {names.ERROR_TYPE: CANCELLED}, Usage())
        for started_ns, call in tools.values():
            self._tool(call, started_ns, fault=CANCELLED)

    @property
    def _has_requests(self) -> bool:
        """Whether what was reserved was also sent; Claude Code's program reserves before it asks."""
        return self._task is not None and self._task.backend != "claude_code"

    def _done(self, name: str, kind: SpanKind, attributes: names.Attributes, *, started_ns: int) -> None:
        if self._is_over:
            return
        self.last_ns = max(started_ns, self._making.now_ns())
        attributes[names.PROVIDER] = self._provider
        if self._task is not None:
            attributes |= {names.AGENT_ID: self._task.agent_id, names.AGENT_NAME: self._name}
        done = _Done(name=name, kind=kind, attributes=attributes, started_ns=started_ns, ended_ns=self.last_ns)
        if self._context is None:
            self._waiting.append(done)
        else:
            self._make(done)

    def _make(self, done: _Done) -> None:
        span = self._making.tracer.start_span(
            done.name, self._context, kind=done.kind, attributes=done.attributes, start_time=done.started_ns
        )
        if names.ERROR_TYPE in done.attributes:
            span.set_status(Status(StatusCode.ERROR))
        span.end(done.ended_ns)


def _used(usage: Usage) -> names.Attributes:
    """What one request used; nothing where nothing is known."""
    return {} if usage == Usage() else names.usage_attributes(usage, cost=names.REQUEST_COST)
