"""Where spans go: OpenTelemetry's own SDK and exporters, set up by its own variables, and ended within a bound."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from callsheet.telemetry.asked import Asked, Exporter

if TYPE_CHECKING:
    from opentelemetry.context import Context

NAME = "callsheet"

FLUSHED_WITHIN_S = 4.0
ENDED_WITHIN_S = 0.75
"""What an exporter may take to let go of a request that it was told to give up."""

QUEUE_SPANS = 16_384
"""A thousand agents can end at once; a span takes about 2 KB."""

DELAY_MS = 1_000
"""Nothing older than that is lost where the process is killed."""

BATCH_SPANS = 512
BATCH_SPANS_WITH_CONTENT = 64
"""Collectors take requests of some megabytes at most."""


class Pipeline:
    """Takes spans to where they are wanted.

    Nobody waits for it: spans wait in a queue with bounds, a thread of its own sends them.

    Attributes:
        tracer: Makes the spans.
        where: Where they go, for people; no part of it is secret.
    """

    def __init__(self, asked: Asked, *, version: str, has_content: bool) -> None:
        """Makes it, as the process's variables say.

        Raises:
            ValueError: One of them has a value that cannot be used.
        """
        _be_quiet()
        self._provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self._tally = _Tally()
        self._provider.add_span_processor(self._tally)
        self._senders = [_sender(kind) for kind in asked.exporters]
        for sender in self._senders:
            self._provider.add_span_processor(_batches(sender, has_content=has_content))
        self.where = " and ".join(sender.where for sender in self._senders)
        self.tracer = self._provider.get_tracer(NAME, version)

    def close(self) -> str | None:
        """Sends what is left, within five seconds; a line on what did not arrive, None where all did. Idempotent."""
        flush = Thread(target=self._provider.shutdown, name="callsheet-telemetry", daemon=True)
        flush.start()
        flush.join(FLUSHED_WITHIN_S)
        if flush.is_alive():
            for sender in self._senders:
                sender.shutdown()
            flush.join(ENDED_WITHIN_S)
        ended = self._tally.ended
        for sender in self._senders:
            lost = ended - sender.sent
            if lost > 0:
                spans = "span" if ended == 1 else "spans"
                return f"telemetry: {lost:,} of {ended:,} {spans} did not reach {sender.where}: {sender.why}"
        return None


class _Tally(SpanProcessor):
    """Counts the spans that were to be sent."""

    def __init__(self) -> None:
        self.ended = 0

    def on_start(self, span: object, parent_context: Context | None = None) -> None:
        return

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self.ended += 1


class _Watched(SpanExporter):
    """An exporter, with what became of it."""

    def __init__(self, exporter: SpanExporter, where: str, session: _Session | None = None) -> None:
        self.where = where
        self.sent = 0
        self._exporter = exporter
        self._session = session
        self._is_over = False

    @property
    def why(self) -> str:
        """Why not all of it arrived, for people."""
        fault = None if self._session is None else self._session.fault
        return fault or ("it took them too slowly" if self.sent else "it did not answer in time")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._is_over:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
        return result

    def shutdown(self) -> None:
        """Ends what is under way as soon as it can be ended, and takes nothing more. Idempotent."""
        if not self._is_over:
            self._is_over = True
            self._exporter.shutdown()


class _Session(requests.Session):
    """Keeps what went wrong last."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: str | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        try:
            response = super().send(request, **options)
        except requests.Timeout:
            self.fault = "it did not answer in time"
            raise
        except requests.RequestException as error:
            self.fault = _cause(error)
            raise
        self.fault = None if response.ok else f"it answered {response.status_code} {response.reason or ''}".rstrip()
        return response


def own_tracer(version: str) -> Tracer | None:
    """The tracer of the program that callsheet is part of, where that has set OpenTelemetry up; None elsewhere."""
    provider = trace.get_tracer_provider()
    return provider.get_tracer(NAME, version) if isinstance(provider, TracerProvider) else None


def _sender(kind: Exporter) -> _Watched:
    if kind == "console":
        return _Watched(ConsoleSpanExporter(out=sys.stderr), "the console")
    session = _Session()
    return _Watched(OTLPSpanExporter(session=session), _place(), session)


def _batches(sender: _Watched, *, has_content: bool) -> BatchSpanProcessor:
    """What collects spans for a sender; what the user's variables say of it holds."""
    queue, delay, batch = (
        os.environ.get(name) for name in ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_SCHEDULE_DELAY", _BATCH)
    )
    return BatchSpanProcessor(
        sender,
        max_queue_size=None if queue else QUEUE_SPANS,
        schedule_delay_millis=None if delay else DELAY_MS,
        max_export_batch_size=None if batch else BATCH_SPANS_WITH_CONTENT if has_content else BATCH_SPANS,
    )


_BATCH = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"


def _resource(version: str) -> Resource:
    """What the spans are of, as the user's variables say; without a name there it is ours."""
    found = Resource({"service.version": version}).merge(Resource.create())
    if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": NAME}))
    return found


def _be_quiet() -> None:
    """What OpenTelemetry logs goes where the program's logs go, and to nobody's terminal where it keeps none."""
    logger = logging.getLogger("opentelemetry")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _place() -> str:
    """The collector's address, without what may be secret in it."""
    named = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or "http://localhost:4318"
    try:
        parts = urlsplit(named or f"{base.rstrip('/')}/v1/traces")
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "the collector"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _cause(error: BaseException) -> str:
    """What lies beneath an error of the client, as the system words it."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        one = left.pop()
        if id(one) in seen or not isinstance(one, BaseException):
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return one.strerror[0].lower() + one.strerror[1:]
        left += [one.__context__, one.__cause__, getattr(one, "reason", None), *one.args]
    return type(error).__name__
