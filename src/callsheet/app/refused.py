"""The result of a run that never began, or that an error of ours broke off (FORMATS 1)."""

from __future__ import annotations

from callsheet.errors import (
    BackendUnavailableError,
    CallsheetError,
    GitRefusedError,
    LeaseHeldError,
    SandboxError,
    ScriptRefusedError,
    StoreError,
    TrustRefusedError,
    UsageError,
)
from callsheet.model.outcome import Usage
from callsheet.model.run import RunError, RunResult
from callsheet.model.sandbox import ErrorKind


def result_of_error(fault: CallsheetError, *, run_id: str, script: str, backend: str) -> RunResult:
    """A run that failed before it began, in the form of every other: status `failed`, no agents.

    Args:
        fault: Why.
        run_id: A fresh name; no record has it.
        script: The path or name as given.
        backend: The backend that would have answered; empty where that was not settled.
    """
    place = fault.place if isinstance(fault, ScriptRefusedError) else None
    return failed_result(
        RunError(
            kind=_kind(fault),
            message=fault.message,
            line=place.line if place is not None else None,
            column=place.column if place is not None else None,
        ),
        run_id=run_id,
        script=script,
        backend=backend,
        workflow=fault.workflow if isinstance(fault, ScriptRefusedError) else None,
    )


def failed_result(error: RunError, *, run_id: str, script: str, backend: str, workflow: str | None = None) -> RunResult:
    """A failed run in which nothing happened."""
    return RunResult(
        run_id=run_id,
        workflow=workflow,
        script=script,
        status="failed",
        backend=backend,
        result=None,
        error=error,
        logs=(),
        phases=(),
        agents=(),
        problems=(),
        denials=(),
        usage=Usage(),
        by_model={},
        duration_ms=0,
    )


def _kind(fault: CallsheetError) -> ErrorKind:
    match fault:
        case ScriptRefusedError():
            return "refused"
        case SandboxError() | StoreError():
            return fault.kind
        case UsageError() | TrustRefusedError() | LeaseHeldError() | GitRefusedError():
            return "config"
        case BackendUnavailableError():
            return "backend"
        case _:
            return "internal"
