"""Telemetry of a run: on where the process's environment asks for it, and nothing at all where it does not."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from callsheet import __version__
from callsheet.permissions.redact import Redactor
from callsheet.ports import EventSink, Executor
from callsheet.telemetry.asked import INSTALL, Asked, asked, captures_content

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

    from callsheet.model.past import Past
    from callsheet.telemetry.export import Pipeline
    from callsheet.telemetry.spans import RunTrace


class Tracing:
    """What traces one run, or nothing.

    Attributes:
        notes: What is to be said about it at the run's start.
        traceparent: What names the run's span; None before `begin`, and where it is not traced.
    """

    def __init__(self, trace: RunTrace | None = None, *, notes: tuple[str, ...] = ()) -> None:
        self._trace = trace
        self.notes = notes
        self.traceparent: str | None = None

    @property
    def sinks(self) -> tuple[EventSink, ...]:
        """Who takes the run's events for it."""
        return () if self._trace is None else (self._trace,)

    def listening(self, executor: Executor) -> Executor:
        """The executor, whose agents' reports it listens to."""
        if self._trace is None:
            return executor
        from callsheet.telemetry.observing import ObservedExecutor

        return ObservedExecutor(executor, self._trace.work_of)

    def begin(self, run_id: str, *, workflow: str, backend: str, past: Past | None) -> None:
        """The run begins, or goes on."""
        if self._trace is not None:
            self.traceparent = self._trace.begin(
                run_id=run_id,
                workflow=workflow,
                backend=backend,
                attempt=1 if past is None else past.attempts + 1,
                earlier=None if past is None else past.traceparent,
            )


NOT_TRACED = Tracing()


@asynccontextmanager
async def open_tracing(
    environ: Mapping[str, str], *, service: str, say: Callable[[str], None]
) -> AsyncGenerator[Tracing]:
    """What traces a run. Leaving the context sends what is left, within five seconds, whatever became of the run.

    Spans go where the `OTEL_*` variables say; in a program that has set OpenTelemetry up by itself they go to that, and
    become part of what it is doing.

    Args:
        environ: The process's.
        service: Where the models of backend `anthropic` are had.
        say: Takes a line on what did not arrive.
    """
    if "opentelemetry.sdk.trace" in sys.modules:
        from callsheet.telemetry.export import own_tracer

        tracer = own_tracer(__version__)
        if tracer is not None:
            async with _tracing(tracer, None, environ, service=service) as tracing:
                yield tracing
            return
    wanted = asked(environ)
    if wanted is None:
        yield NOT_TRACED
        return
    faults = () if wanted.fault is None else (f"telemetry: {wanted.fault}",)
    pipeline = await to_thread.run_sync(_pipeline, wanted, captures_content(environ)) if wanted.exporters else None
    if pipeline is None or isinstance(pipeline, str):
        yield Tracing(notes=faults if pipeline is None else (*faults, pipeline))
        return
    from callsheet.telemetry.parents import parent_of

    try:
        notes = (*faults, f"telemetry: spans go to {pipeline.where} ({wanted.by})")
        async with _tracing(pipeline.tracer, parent_of(environ), environ, service=service, notes=notes) as tracing:
            yield tracing
    finally:
        with CancelScope(shield=True):
            lost = await to_thread.run_sync(pipeline.close)
        if lost is not None:
            say(lost)


@asynccontextmanager
async def _tracing(
    tracer: Tracer,
    parent: Context | None,
    environ: Mapping[str, str],
    *,
    service: str,
    notes: tuple[str, ...] = (),
) -> AsyncGenerator[Tracing]:
    from callsheet.telemetry.spans import RunTrace
    from callsheet.telemetry.work import Making

    making = Making(
        tracer=tracer,
        redact=Redactor(environ).text,
        service=service,
        captures=captures_content(environ),
    )
    trace = RunTrace(making, started_ns=time.time_ns(), parent=parent)
    try:
        yield Tracing(trace, notes=notes)
    finally:
        trace.close()


def _pipeline(wanted: Asked, has_content: bool) -> Pipeline | str:
    """What takes spans to where they are wanted; or, in a line, why they go nowhere."""
    try:
        from callsheet.telemetry.export import Pipeline
    except ImportError:
        return f"telemetry: {wanted.by} asks for it, and OpenTelemetry is not installed, so nothing is sent: {INSTALL}"
    try:
        return Pipeline(wanted, version=__version__, has_content=has_content)
    except (ValueError, OSError) as fault:
        return f"telemetry: nothing is sent, a variable of OpenTelemetry cannot be used: {fault}"
