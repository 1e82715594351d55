"""Whether telemetry is asked for: by the usual variables of the process's environment, and by nothing else.

No file is read for this (DESIGN 14): a repository can neither switch telemetry on nor say where it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from callsheet.model.dataclass import dataclass

Exporter = Literal["otlp", "console"]

INSTALL = "pip install 'callsheet[otel]'"

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTERS = "OTEL_TRACES_EXPORTER"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_SPOKEN = "http/protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Telemetry as the environment asks for it.

    Attributes:
        by: The variable that does.
        exporters: Where spans go; none where nothing that was asked for can be done.
        fault: What cannot be done, and the remedy; None where all can.
    """

    by: str
    exporters: tuple[Exporter, ...]
    fault: str | None = None


def asked(environ: Mapping[str, str]) -> Asked | None:
    """What the environment asks for; None for nothing. An empty variable counts as one that is not set.

    Spans are exported where an endpoint is named, or an exporter; `OTEL_TRACES_EXPORTER=none` and
    `OTEL_SDK_DISABLED=true` are above that.
    """
    if _said(environ, "OTEL_SDK_DISABLED").lower() == "true":
        return None
    named = [name.strip().lower() for name in _said(environ, _EXPORTERS).split(",") if name.strip()]
    if "none" in named:
        return None
    endpoint = next((name for name in _ENDPOINTS if _said(environ, name)), None)
    if not named:
        return None if endpoint is None else _over_otlp(environ, by=endpoint)
    known: tuple[Exporter, ...] = ("otlp", "console")
    exporters = tuple(one for one in known if one in named)
    strange = [name for name in named if name not in known]
    if strange:
        fault = f"{_EXPORTERS}={', '.join(strange)} is no exporter that callsheet has: take otlp, console or none"
        return Asked(by=_EXPORTERS, exporters=exporters, fault=fault)
    return _over_otlp(environ, by=_EXPORTERS, exporters=exporters)


def captures_content(environ: Mapping[str, str]) -> bool:
    """Whether prompts, answers and what tools are given may be part of spans; without a word they may not."""
    return _said(environ, _CONTENT).lower() in ("true", "span_only", "span_and_event")


def _over_otlp(environ: Mapping[str, str], *, by: str, exporters: tuple[Exporter, ...] = ("otlp",)) -> Asked:
    fault = _fault(environ)
    if "otlp" not in exporters or fault is None:
        return Asked(by=by, exporters=exporters)
    return Asked(by=by, exporters=tuple(one for one in exporters if one != "otlp"), fault=fault)


def _fault(environ: Mapping[str, str]) -> str | None:
    """Why nothing can be sent as the variables say, and the remedy; None where it can."""
    protocol = next((name for name in _PROTOCOLS if _said(environ, name)), None)
    if protocol is not None and _said(environ, protocol) != _SPOKEN:
        return (
            f"{protocol}={_said(environ, protocol)} is not spoken here: set {protocol}={_SPOKEN}, and the endpoint of "
            "the collector's HTTP port (usually 4318)"
        )
    endpoint = next((name for name in _ENDPOINTS if _said(environ, name)), None)
    if endpoint is not None and not _said(environ, endpoint).lower().startswith(("http://", "https://")):
        return f"{endpoint} is no address of a collector: it begins with http:// or https://"
    return None


def _said(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()
