"""The spans of one run: the run, its nested workflows, its phases and its agents, told by its events.

    invoke_workflow review            the run
    ├── phase Find
    │   └── invoke_agent src/a.py
    │       ├── chat claude-…         one request to a model
    │       └── execute_tool read
    └── invoke_workflow lint          a nested workflow
        └── phase Check

A phase is not over before its run, since an agent may enter it at any time: its span ends then, with the time at which
the last of its agents ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from callsheet.model.call import AgentTask
from callsheet.model.dataclass import dataclass
from callsheet.model.events import (
    AgentControlled,
    AgentFinished,
    AgentQueued,
    AgentStarted,
    AgentWaiting,
    BudgetWarning,
    Event,
    PhaseStarted,
    RunFinished,
    RunStarted,
    RunStatusChanged,
)
from callsheet.model.run import AgentSummary, RunResult
from callsheet.ports import EventSink
from callsheet.telemetry import names
from callsheet.telemetry.content import text_json
from callsheet.telemetry.parents import span_context_of
from callsheet.telemetry.work import AgentWork, Making

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

BUDGET = "callsheet.budget.share"

ENDED_BADLY = frozenset({"failed", "timed_out", "over_budget", "conflict", "invalid"})
"""Agents of these statuses have met an error; one that was skipped or cancelled has not, somebody wanted it so."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Group:
    """A span over others: a phase, or a nested workflow. It ends with the last of them."""

    span: Span
    context: Context
    last_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queued:
    """An agent that has been called and is not over."""

    body: AgentQueued
    at_ns: int


class RunTrace(EventSink):
    """One run."""

    def __init__(self, making: Making, *, started_ns: int, parent: Context | None = None) -> None:
        """Makes it; no span is there before `begin`.

        Args:
            making: What spans are made with.
            started_ns: When the run was asked for.
            parent: What the run is part of; None for nothing.
        """
        self._making = making
        self._started_ns = started_ns
        self._parent = parent
        self._run: _Group | None = None
        self._run_id = ""
        self._has_started = False
        self._phases: dict[tuple[int | str, str], _Group] = {}
        self._nested: dict[int, _Group] = {}
        self._unclaimed: dict[str, _Group] = {}
        self._queued: dict[str, _Queued] = {}
        self._agents: dict[str, tuple[Span, Sequence[_Group]]] = {}
        self._work: dict[str, AgentWork] = {}

    # --- the run ----------------------------------------------------------------------------------------------------

    def begin(self, *, run_id: str, workflow: str, backend: str, attempt: int, earlier: str | None) -> str:
        """Gives the run its span; what names it to others, as `traceparent`.

        Args:
            run_id: Of the run.
            workflow: Its name.
            backend: Who answers calls that name nobody else.
            attempt: Which attempt at the run it is, from 1.
            earlier: What named the attempt before to others; None where that is not known.
        """
        making = self._making
        name = making.named(workflow)
        attributes: names.Attributes = {
            names.OPERATION: "invoke_workflow",
            names.WORKFLOW: name,
            names.RUN_ID: run_id,
            names.RUN_BACKEND: backend,
            names.RUN_ATTEMPT: attempt,
        }
        before = None if earlier is None else span_context_of(earlier)
        links = [] if before is None else [Link(before, {names.LINK: names.EARLIER_ATTEMPT})]
        span = making.tracer.start_span(
            f"invoke_workflow {name}",
            self._parent,
            kind=SpanKind.INTERNAL,
            attributes=attributes,
            links=links,
            start_time=self._started_ns,
        )
        context = set_span_in_context(span)
        self._run_id = run_id
        self._run = _Group(span=span, context=context, last_ns=self._started_ns)
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, context)
        return carrier.get("traceparent", "")

    def work_of(self, task: AgentTask) -> AgentWork:
        """Where is told what the agent of a task does, an attempt of which begins."""
        work = self._work.setdefault(task.agent_id, AgentWork(self._making))
        work.given(task)
        return work

    def close(self) -> None:
        """Ends what is open. A run that never started, since it was refused, leaves nothing; one that ended nothing."""
        if self._run is not None and self._has_started:
            self._end_all(names.UNKNOWN_FAULT)
        self._run = None

    # --- its events -------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        run, body = self._run, event.body
        if run is None:
            return
        match body:
            case RunStarted():
                self._has_started = True
            case PhaseStarted(workflow=None):
                self._phase(0, run, body.title)
            case AgentQueued():
                self._queued[body.agent_id] = _Queued(body=body, at_ns=_ns(event.at))
            case AgentStarted():
                self._started(run, body, _ns(event.at))
            case AgentFinished():
                self._finished(run, body)
            case AgentWaiting():
                self._note(body.agent_id, "callsheet.waiting", {"callsheet.waiting.why": body.why})
            case AgentControlled():
                self._note(body.agent_id, "callsheet.controlled", {"callsheet.control.action": body.action})
            case RunStatusChanged():
                run.span.add_event("callsheet.run.status", {names.RUN_STATUS: body.status})
            case BudgetWarning():
                run.span.add_event("callsheet.budget.warning", {"callsheet.budget.kind": body.kind, BUDGET: body.share})
            case RunFinished(result=result):
                self._run_finished(run, result)
            case _:
                return

    def _note(self, agent_id: str, name: str, attributes: dict[str, str]) -> None:
        if (found := self._agents.get(agent_id)) is not None:
            found[0].add_event(name, attributes)

    # --- phases and nested workflows --------------------------------------------------------------------------------

    def _group(self, above: _Group, name: str, attributes: names.Attributes) -> _Group:
        now_ns = self._making.now_ns()
        attributes[names.RUN_ID] = self._run_id
        span = self._making.tracer.start_span(name, above.context, attributes=attributes, start_time=now_ns)
        return _Group(span=span, context=set_span_in_context(span), last_ns=now_ns)

    def _phase(self, whose: int | str, above: _Group, title: str) -> _Group:
        found = self._phases.get((whose, title))
        if found is None:
            named = self._making.named(title)
            found = self._group(above, f"phase {named}", {names.PHASE: named})
            self._phases[whose, title] = found
        return found

    def _nested_of(self, run: _Group, context: int | None, workflow: str) -> _Group:
        """The span of a nested workflow. Of an agent that answers from the record only the workflow's name is known."""
        found = self._nested.get(context) if context is not None else self._unclaimed.get(workflow)
        if found is None and context is not None:
            found = self._unclaimed.pop(workflow, None)
        if found is None:
            named = self._making.named(workflow)
            known: names.Attributes = {names.OPERATION: "invoke_workflow", names.WORKFLOW: named}
            found = self._group(run, f"invoke_workflow {named}", known)
        if context is None:
            self._unclaimed[workflow] = found
        else:
            self._nested[context] = found
        return found

    def _above(self, run: _Group, phase: str | None, workflow: str | None, context: int | None) -> list[_Group]:
        """The spans over an agent, outermost first, without the run's."""
        groups: list[_Group] = []
        whose: int | str = 0
        if workflow is not None:
            groups.append(self._nested_of(run, context, workflow))
            whose = workflow if context is None else context
        if phase is not None:
            groups.append(self._phase(whose, groups[-1] if groups else run, phase))
        return groups

    # --- agents -----------------------------------------------------------------------------------------------------

    def _started(self, run: _Group, body: AgentStarted, at_ns: int) -> None:
        queued = self._queued[body.agent_id]
        waited_s = max(0.0, (at_ns - queued.at_ns) / 1e9)
        more: names.Attributes = {names.AGENT_QUEUED_S: waited_s}
        called = queued.body
        groups = self._above(run, called.phase, called.workflow, called.context)
        span = self._agent(run, groups, body.agent_id, body.backend, body.model, started_ns=at_ns, more=more)
        self._agents[body.agent_id] = (span, groups)
        self._work.setdefault(body.agent_id, AgentWork(self._making)).began(span)

    def _agent(
        self,
        run: _Group,
        groups: Sequence[_Group],
        agent_id: str,
        backend: str,
        model: str | None,
        *,
        started_ns: int,
        more: names.Attributes,
    ) -> Span:
        attributes: names.Attributes = {
            names.OPERATION: "invoke_agent",
            names.PROVIDER: names.provider_of(backend, self._making.service),
            names.AGENT_ID: agent_id,
            names.AGENT_BACKEND: backend,
            names.RUN_ID: self._run_id,
            **more,
        }
        if model is not None:
            attributes[names.REQUEST_MODEL] = self._making.named(model)
        above = groups[-1] if groups else run
        return self._making.tracer.start_span(
            "invoke_agent", above.context, attributes=attributes, start_time=started_ns
        )

    def _finished(self, run: _Group, body: AgentFinished) -> None:
        agent = body.agent
        queued = self._queued.pop(agent.agent_id, None)
        work = self._work.pop(agent.agent_id, None)
        now_ns = self._making.now_ns()
        if agent.agent_id in self._agents:
            span, groups = self._agents.pop(agent.agent_id)
        else:
            span, groups = self._unstarted(run, agent, queued, now_ns)
        if work is not None:
            work.ended()
            now_ns = max(now_ns, work.last_ns)
        if agent.reused:
            span.set_attributes({names.AGENT_STATUS: agent.status, names.AGENT_REUSED: True})
        else:
            span.set_attributes(_outcome(agent))
            if agent.model is not None:
                span.set_attribute(names.RESPONSE_MODEL, self._making.named(agent.model))
            self._tell(span, agent.status, error=agent.error, preview=body.result_preview)
        span.end(now_ns)
        for group in groups:
            group.last_ns = max(group.last_ns, now_ns)

    def _unstarted(
        self, run: _Group, agent: AgentSummary, queued: _Queued | None, now_ns: int
    ) -> tuple[Span, Sequence[_Group]]:
        """The span of one that answers from the record, or that was over before its turn came."""
        groups = self._above(run, agent.phase, agent.workflow, None if queued is None else queued.body.context)
        span = self._agent(run, groups, agent.agent_id, agent.backend, agent.model, started_ns=now_ns, more={})
        return span, groups

    def _tell(self, span: Span, status: str, *, error: str | None, preview: str | None) -> None:
        if status in ENDED_BADLY:
            span.set_attribute(names.ERROR_TYPE, status)
            # What went wrong can quote what an agent said, or was told.
            span.set_status(Status(StatusCode.ERROR, error if self._making.captures else None))
        if self._making.captures and preview is not None:
            span.set_attribute(names.OUTPUT_MESSAGES, text_json("assistant", preview, self._making.redact))

    # --- the end ----------------------------------------------------------------------------------------------------

    def _run_finished(self, run: _Group, result: RunResult) -> None:
        attributes: names.Attributes = {
            names.RUN_STATUS: result.status,
            names.RUN_AGENTS: len(result.agents),
            names.RUN_REUSED: sum(agent.reused for agent in result.agents),
            names.RUN_PROBLEMS: len(result.problems),
            names.RUN_OUTPUT_TOKENS: result.usage.output_tokens,
            names.RUN_INPUT_TOKENS: (
                result.usage.input_tokens + result.usage.cache_read_tokens + result.usage.cache_write_tokens
            ),
        }
        if result.usage.cost_usd is not None:
            attributes[names.RUN_COST] = result.usage.cost_usd
        run.span.set_attributes(attributes)
        fault = message = None
        if result.status in ("failed", "interrupted"):
            fault = result.status if result.error is None else result.error.kind
            message = None if result.error is None else result.error.message
        self._end_all(fault, message=message)

    def _end_all(self, fault: str | None, *, message: str | None = None) -> None:
        run, now_ns = self._run, self._making.now_ns()
        assert run is not None
        for agent_id, (span, _) in self._agents.items():  # none, where the run came to its end
            self._work[agent_id].ended()
            span.end(now_ns)
        for group in (*self._phases.values(), *self._nested.values(), *self._unclaimed.values()):
            group.span.end(group.last_ns)
        if fault is not None:
            run.span.set_attribute(names.ERROR_TYPE, fault)
            text = self._making.redact(message) if message is not None and self._making.captures else None
            run.span.set_status(Status(StatusCode.ERROR, text))
        run.span.end(now_ns)
        self._run = None


def _outcome(agent: AgentSummary) -> names.Attributes:
    found = names.usage_attributes(agent.usage, cost=names.AGENT_COST)
    if agent.started_at is None:
        found = {}
    return found | {
        names.AGENT_STATUS: agent.status,
        names.AGENT_ATTEMPTS: agent.attempts,
        names.AGENT_FILES_CHANGED: len(agent.files_changed),
    }


def _ns(stamp: str) -> int:
    """A stamp of the record in nanoseconds since the epoch, by whole milliseconds."""
    return round(datetime.fromisoformat(stamp).timestamp() * 1000) * 1_000_000
