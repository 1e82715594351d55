"""What of the environment asks for telemetry."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.agents.claude_code.environment import program_environment
from callsheet.permissions.redact import Redactor
from callsheet.shell.environment import command_environment
from callsheet.telemetry.asked import asked, captures_content

HERE = "http://localhost:4318"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x", "TRACEPARENT": "00-1-2-01", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_SDK_DISABLED": "True"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": HERE},
    ],
)
def test_nothing_is_asked_for_unless_an_endpoint_or_an_exporter_is_named(environ: dict[str, str]) -> None:
    assert asked(environ) is None


@pytest.mark.parametrize(
    ("environ", "by", "exporters"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}, "OTEL_EXPORTER_OTLP_ENDPOINT", ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": HERE}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER", ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, "OTEL_TRACES_EXPORTER", ("otlp", "console")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            ("otlp",),
        ),
    ],
)
def test_an_endpoint_or_an_exporter_asks_for_it(environ: dict[str, str], by: str, exporters: tuple[str, ...]) -> None:
    found = asked(environ)
    assert found is not None and (found.by, found.exporters, found.fault) == (by, exporters, None)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "it begins with http://"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "take otlp, console or none"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "=http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "=http/protobuf"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(environ: dict[str, str], says: str) -> None:
    found = asked(environ)
    assert found is not None and found.exporters == () and says in (found.fault or "")


@pytest.mark.parametrize(
    ("said", "captures"), [("true", True), ("SPAN_ONLY", True), ("", False), ("EVENT_ONLY", False)]
)
def test_content_is_captured_for_those_alone_who_say_so(said: str, captures: bool) -> None:
    assert captures_content({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": said}) is captures


def test_agents_get_nothing_of_it_and_the_collectors_password_is_a_secret(tmp_path: Path) -> None:
    secret = "Bearer%20collector-pass-0123456789"
    environ = {
        "PATH": "/usr/bin",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={secret},x-scope-orgid=production",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=aB3dE6gH9jK2mN5",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:pass-of-it@collector",
        "TRACEPARENT": "00-1-2-01",
    }
    kept = command_environment(environ, keep=("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"))
    program = program_environment(environ, temporary=tmp_path, workspace=tmp_path)
    assert not [name for name in (*kept, *program) if "OTEL" in name or name == "TRACEPARENT"]

    redactor = Redactor(environ)
    for text in (secret, "Bearer collector-pass-0123456789", "collector-pass-0123456789", "aB3dE6gH9jK2mN5"):
        assert redactor.text(f"is {text}.").startswith("is ‹secret OTEL_EXPORTER_OTLP_")
    assert redactor.text("in production") == "in production"
