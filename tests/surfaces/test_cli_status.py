from __future__ import annotations

from typing import Any

import pytest

from callsheet.cli.status import exit_status
from callsheet.model.run import RunError
from tests.surfaces.results import result


def error(kind: Any) -> RunError:
    return RunError(kind=kind, message="m")


@pytest.mark.contract("O01", "O04")
@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"status": "completed"}, 0),
        ({"status": "degraded"}, 3),
        ({"status": "degraded", "over_budget": True}, 4),
        ({"status": "failed", "error": error("script")}, 1),
        ({"status": "failed", "error": error("limit"), "over_budget": True}, 1),
        ({"status": "failed", "error": error("stalled")}, 1),
        ({"status": "failed", "error": error("refused")}, 2),
        ({"status": "failed", "error": error("config")}, 2),
        ({"status": "interrupted"}, 6),
        ({"status": "interrupted", "error": error("backend"), "over_budget": True}, 6),
        ({"status": "cancelled", "stopped_by_person": True}, 130),
        ({"status": "failed", "error": error("refused"), "stopped_by_person": True}, 130),
    ],
)
def test_the_exit_status_is_the_first_that_applies(given: dict[str, Any], status: int) -> None:
    assert exit_status(result(**given)) == status


def test_a_degraded_run_may_count_as_completed_and_nothing_else_may() -> None:
    assert exit_status(result(status="degraded"), fail_on="failed") == 0
    assert exit_status(result(status="degraded", over_budget=True), fail_on="failed") == 4
    assert exit_status(result(status="failed"), fail_on="failed") == 1
