"""The exit status of a run (FORMATS 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from callsheet.model.run import RunResult

STOPPED = 130
USAGE = 2
FAILED = 1
INTERRUPTED = 6
OVER_BUDGET = 4
DEGRADED = 3
COMPLETED = 0
NOT_APPROVED = 5


_TASK_ENDS = {"over_budget": OVER_BUDGET, "declined": NOT_APPROVED, "rounds": FAILED, "failed": FAILED}
"""How a task can end without an answer, where its run ended well."""


def task_ended(result: RunResult) -> str | None:
    """How a task ended (`callsheet do`): what its run returned says so. None for other runs, and where it failed."""
    value = result.result
    ended = value.get("ended") if result.workflow == "do" and isinstance(value, dict) else None
    return ended if isinstance(ended, str) else None


def exit_status(result: RunResult, *, fail_on: Literal["degraded", "failed"] = "degraded") -> int:
    """The first status that applies to a run, in the order of FORMATS 1.

    Args:
        result: How the run ended.
        fail_on: `failed` makes a degraded run count as completed.
    """
    if result.stopped_by_person:
        return STOPPED
    if (status := _TASK_ENDS.get(task_ended(result) or "")) is not None:
        return status
    if result.error is not None and result.error.kind in {"refused", "config"}:
        return USAGE
    match result.status:
        case "failed":
            return FAILED
        case "cancelled":
            return STOPPED
        case "interrupted":
            return INTERRUPTED
        case "degraded" if result.over_budget:
            return OVER_BUDGET
        case "degraded":
            return DEGRADED if fail_on == "degraded" else COMPLETED
        case "completed":
            return OVER_BUDGET if result.over_budget else COMPLETED
