"""Results of invented runs, for what prints them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callsheet.app.refused import failed_result
from callsheet.model.run import RunError, RunResult

_FAILED = failed_result(
    RunError(kind="script", message="it threw"),
    run_id="run_X",
    script="review.js",
    backend="anthropic",
    workflow="review",
)


def result(**given: Any) -> RunResult:
    """A run that completed without any agent, but for what is given."""
    return replace(_FAILED, **({"status": "completed", "error": None} | given))
