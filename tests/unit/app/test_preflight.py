from __future__ import annotations

from typing import Any

import pytest

from callsheet.app.preflight import MAX_FINDINGS, Preflight, refused_by_preflight, schema_fault
from callsheet.model.script import LiteralUse
from callsheet.model.values import JsonValue, Place
from tests.unit.app.library import FewThings, script

TEXT = "line one\nline two"


def tried(*uses: tuple[Any, JsonValue]) -> list[str]:
    preflight = Preflight(
        library=FewThings(),
        schema_fault=schema_fault,
        model_fault=lambda name: None if name == "opus" else f"model {name!r} is not known.",
    )
    literal = [LiteralUse(kind=kind, value=value, place=Place(line=2, column=5)) for kind, value in uses]
    return [finding.message for finding in preflight.findings(script("s", TEXT), literal)]


def test_what_will_do_is_not_mentioned() -> None:
    assert (
        tried(
            ("model", "opus"),
            ("agent_type", "Explore"),
            ("effort", "HIGH"),
            ("isolation", "worktree"),
            ("workflow", "review"),
            ("schema", {"type": "object"}),
        )
        == []
    )


@pytest.mark.contract("A04", "A09", "W02")
@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("model", "opuss", "model 'opuss' is not known."),
        (
            "agent_type",
            "Explorer",
            "there is no agent type 'Explorer'. --agent-type Explorer=OTHER takes another for it.",
        ),
        ("effort", "huge", "effort 'huge' does not exist; it is one of low, medium, high, xhigh, max."),
        ("isolation", "vm", "isolation 'vm' does not exist; it is 'worktree'."),
        ("workflow", "revew", "there is no workflow 'revew'."),
        ("workflow", "broken", "the workflow 'broken' is refused: no meta"),
    ],
)
def test_what_cannot_be_had_is_a_warning(kind: str, value: str, message: str) -> None:
    assert tried((kind, value)) == [message]


def test_a_schema_that_can_never_be_met_is_a_warning() -> None:
    (message,) = tried(("schema", {"type": "array"}))

    assert "object" in message


def test_a_warning_has_the_place_and_the_line() -> None:
    preflight = Preflight(library=FewThings(), schema_fault=schema_fault, model_fault=lambda name: None)
    use = LiteralUse(kind="effort", value="huge", place=Place(line=2, column=5))

    (finding,) = preflight.findings(script("s", TEXT), [use])

    assert (finding.severity, finding.code, finding.contract) == ("warning", "preflight-effort", "A09")
    assert (finding.place, finding.source_line) == (Place(line=2, column=5), "line two")


def test_fifty_warnings_are_enough() -> None:
    assert len(tried(*[("effort", f"e{number}") for number in range(200)])) == MAX_FINDINGS


def test_a_refusal_makes_errors_of_the_warnings() -> None:
    preflight = Preflight(library=FewThings(), schema_fault=schema_fault, model_fault=lambda name: None)
    warnings = preflight.findings(script("s", TEXT), [LiteralUse(kind="effort", value="x", place=Place(line=1))])

    refused = refused_by_preflight(script("s", TEXT), warnings)

    assert [finding.severity for finding in refused.findings] == ["error"]
    assert refused.workflow == "s" and refused.place == Place(line=1)
