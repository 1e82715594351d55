"""Where spans go, and what it costs where they cannot go there."""

from __future__ import annotations

import threading
import time

import pytest

from callsheet.telemetry import export
from callsheet.telemetry.asked import Asked
from callsheet.telemetry.export import Pipeline
from tests.support.deadline import BUSY_S
from tests.support.otlp_collector import open_collector

ASKED = Asked(by="OTEL_EXPORTER_OTLP_ENDPOINT", exporters=("otlp",))


def pipeline(monkeypatch: pytest.MonkeyPatch, endpoint: str, **environ: str) -> Pipeline:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Pipeline(ASKED, version="1", has_content=False)


def test_a_collector_that_never_answers_is_waited_for_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert export.FLUSHED_WITHIN_S + export.ENDED_WITHIN_S < 5
    monkeypatch.setattr(export, "FLUSHED_WITHIN_S", 0.3)
    monkeypatch.setattr(export, "ENDED_WITHIN_S", 0.1)
    with open_collector() as collector:
        collector.held = threading.Event()
        opened = pipeline(monkeypatch, collector.endpoint)
        for _ in range(1_000):
            opened.tracer.start_span("x").end()
        began = time.monotonic()
        said = opened.close()
        assert time.monotonic() - began < BUSY_S
    assert said == (
        f"telemetry: 1,000 of 1,000 spans did not reach {collector.endpoint}/v1/traces: it did not answer in time"
    )


def test_a_collector_that_refuses_is_quoted_and_no_secret_of_its_address_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_collector() as collector:
        collector.status = 401
        opened = pipeline(monkeypatch, collector.endpoint.replace("//", "//user:hidden@"))
        opened.tracer.start_span("x").end()
        said = opened.close()
    assert said == f"telemetry: 1 of 1 span did not reach {collector.endpoint}/v1/traces: it answered 401 Unauthorized"
    assert "hidden" not in opened.where


def test_ten_thousand_spans_at_once_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_collector() as collector:
        opened = pipeline(
            monkeypatch, collector.endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="gzip", OTEL_SERVICE_NAME="me"
        )
        for _ in range(10_000):
            opened.tracer.start_span("x").end()
        assert opened.close() is None
        assert len(collector.spans) == 10_000
        assert collector.resource["service.name"] == "me"
