"""What the workflow tools answer."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.app.records import Listed
from callsheet.app.refused import failed_result
from callsheet.app.tool_views import MOST_RESULT_CHARS, outcome_json, refusal_json, started_next
from callsheet.errors import CallsheetError, NotStartedError, ScriptRefusedError, TrustRefusedError
from callsheet.model.public import result_json
from callsheet.model.run import RunError
from callsheet.model.script import Finding
from callsheet.model.values import Place
from callsheet.store.record import RunLine

RUN = "run_01"


def outcome(**changed: Any) -> dict[str, Any]:
    whole = result_json(
        failed_result(RunError(kind="limit", message="spent"), run_id=RUN, script="a.js", backend="offline")
    )
    line = RunLine(
        run_id=RUN,
        workflow="a",
        script_path="a.js",
        parent_run_id=None,
        status=str(changed.get("status", "failed")),
        started_at="2026-01-01T00:00:00Z",
        ended_at=None,
        last_at=None,
        agents=0,
        input_tokens=0,
        output_tokens=0,
        cache_read_tokens=0,
        cache_write_tokens=0,
        cost_usd=0.0,
        unpriced=0,
    )
    return outcome_json(whole | changed, run=Listed(line=line, status=line.status))


def test_a_run_whose_budget_is_spent_says_that_it_goes_on_with_a_larger_one() -> None:
    problem = {"where": "agent", "agent_id": "a0002", "cause": "over_budget", "message": "spent"}
    answer = outcome(problems=[problem])
    assert "larger budget" in answer["next"]
    assert answer["problems"] == [{"where": "agent", "agentId": "a0002", "cause": "over_budget", "message": "spent"}]


def test_a_long_result_is_cut_and_says_so_and_where_the_whole_is() -> None:
    answer = outcome(status="completed", result="x" * MOST_RESULT_CHARS)
    assert answer["result"] is None
    assert f"callsheet://runs/{RUN}/result" in answer["resultNote"]
    assert answer["next"] is None
    assert "resultNote" not in outcome(result="x" * 1_000)


def test_of_many_problems_it_is_said_how_many_more_there_are() -> None:
    problems = [{"cause": "failed", "message": str(number)} for number in range(57)]
    listed = outcome(problems=problems)["problems"]
    assert (len(listed), listed[-1]) == (21, {"more": 37})


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (
            ScriptRefusedError(
                (
                    Finding(
                        severity="error",
                        code="c",
                        contract="S01",
                        message="m",
                        place=Place(line=3, column=4),
                        source_line="x",
                    ),
                )
            ),
            "script_refused",
        ),
        (TrustRefusedError("hooks"), "not_approved"),
        (NotStartedError("in use", kind="config", line=3), "not_started"),
        (CallsheetError("other"), "failed"),
    ],
)
def test_a_refusal_says_its_kind_and_where_it_can_what_to_do(fault: CallsheetError, kind: str) -> None:
    error = refusal_json(fault)["error"]
    assert (error["kind"], error["message"]) == (kind, fault.message)
    assert (error["next"] is None) == (kind == "failed")
    lines = [each["line"] for each in error.get("findings", [{"line": error.get("line", 3)}])]
    assert lines == [3]


def test_of_a_script_with_warnings_it_is_said_that_its_run_can_be_stopped_and_mended() -> None:
    assert "workflow_stop, mend the file" in started_next(has_warnings=True)
    assert "warnings" not in started_next(has_warnings=False)
