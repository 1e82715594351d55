"""What a run is part of, and what it goes on from: trace contexts as others write them (W3C Trace Context)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext


def parent_of(environ: Mapping[str, str]) -> Context | None:
    """What the process was started as part of, by `TRACEPARENT` and `TRACESTATE`; None for nothing, or nonsense."""
    return context_of(environ.get("TRACEPARENT", ""), environ.get("TRACESTATE", ""))


def context_of(traceparent: str, tracestate: str = "") -> Context | None:
    """The context that a `traceparent` names; None where it names none."""
    carrier = {"traceparent": traceparent.strip(), "tracestate": tracestate.strip()}
    found = TraceContextTextMapPropagator().extract(carrier)
    return found if trace.get_current_span(found).get_span_context().is_valid else None


def span_context_of(traceparent: str) -> SpanContext | None:
    """As `context_of`, for a link."""
    found = context_of(traceparent)
    return None if found is None else trace.get_current_span(found).get_span_context()
