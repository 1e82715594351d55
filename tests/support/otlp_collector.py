"""A collector of spans on loopback: real OTLP over HTTP, read with the protocol's own messages.

with open_collector() as collector:
    command.run(..., environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint})
assert collector.tree() == ...
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A span as it arrived. Times are nanoseconds since the epoch; `error` is whether its status is one."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    error: bool
    said: str
    links: list[tuple[str, str, dict[str, Any]]]
    events: list[tuple[str, dict[str, Any]]]

    def __getitem__(self, name: str) -> Any:
        return self.attributes.get(name)


@dataclass
class Collector:
    """What arrived.

    Attributes:
        endpoint: For `OTEL_EXPORTER_OTLP_ENDPOINT`.
        resource: The attributes of the last resource.
        headers: Of each request.
        body: All bytes of all requests, for looking for what must not be in them.
    """

    endpoint: str = ""
    spans: list[Taken] = field(default_factory=list)
    resource: dict[str, Any] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    body: bytes = b""
    status: int = 200
    held: Event | None = None
    asked: Event = field(default_factory=Event)

    def of(self, start: str) -> list[Taken]:
        """The spans whose name begins so, by their start."""
        return sorted((span for span in self.spans if span.name.startswith(start)), key=lambda one: one.start_ns)

    def one(self, start: str) -> Taken:
        """The only such span."""
        (span,) = self.of(start)
        return span

    def above(self, span: Taken) -> Taken:
        """The span over another."""
        (found,) = (one for one in self.spans if one.span_id == span.parent_id)
        return found

    def paths(self) -> list[str]:
        """Each span as the names of all above it and its own, sorted."""
        by_id = {span.span_id: span for span in self.spans}

        def path(span: Taken) -> str:
            over = by_id.get(span.parent_id)
            return span.name if over is None else f"{path(over)} > {span.name}"

        return sorted(path(span) for span in self.spans)

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Reads one request."""
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.headers.append(headers)
        self.body += body
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.resource = _plain(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_taken(span) for span in scope.spans]


@contextmanager
def open_collector() -> Iterator[Collector]:
    """A collector, for as long as the block goes on."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.asked.set()
            if collector.held is not None:
                collector.held.wait(30)
            if collector.status == 200 and self.path == "/v1/traces":
                collector.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(collector.status if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return  # a client that gives up is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    collector.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        if collector.held is not None:
            collector.held.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def _taken(span: trace_pb2.Span) -> Taken:
    return Taken(
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_plain(span.attributes),
        error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        said=span.status.message,
        links=[(link.trace_id.hex(), link.span_id.hex(), _plain(link.attributes)) for link in span.links],
        events=[(event.name, _plain(event.attributes)) for event in span.events],
    )


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
