"""The object that a run ends with (FORMATS 1), and its last row."""

from __future__ import annotations

from dataclasses import replace

from callsheet import __version__
from callsheet.engine.ending import Ending
from callsheet.engine.state import RunState
from callsheet.engine.text import to_json
from callsheet.model.records import RunEndRow
from callsheet.model.run import RunResult, RunStatus


def run_status(ending: Ending, *, is_degraded: bool) -> RunStatus:
    """The status of CONTRACT O01."""
    match ending.status:
        case "returned":
            return "degraded" if is_degraded else "completed"
        case "failed" | "cancelled" | "interrupted":
            return ending.status


def run_result(state: RunState, ending: Ending) -> RunResult:
    """What the run came to."""
    book, script = state.book, state.request.script
    usage, by_model = book.usage()
    for agent in state.replay.unasked():
        usage += agent.outcome.usage
    error = ending.error
    if error is not None:
        error = replace(error, message=state.bus.text(error.message))
    return RunResult(
        run_id=state.run_id,
        workflow=script.meta.name,
        script=script.origin,
        status=run_status(ending, is_degraded=book.is_degraded),
        backend=state.settings.backend,
        result=ending.value,
        error=error,
        logs=tuple(book.logs),
        phases=book.phases(),
        agents=book.agents(),
        problems=book.problems.problems(),
        denials=book.denials.denials(),
        usage=usage,
        by_model=by_model,
        duration_ms=state.clock.elapsed_ms(),
        stopped_by_person=ending.by_person,
        over_budget=book.over_budget,
        resumed=state.replay.report(
            {"HEAD": state.request.head, "memory files": state.settings.memory, "version": __version__}
        ),
    )


def end_row(result: RunResult, *, ended_at: str) -> RunEndRow:
    """The row that closes a run's record."""
    error = result.error
    return RunEndRow(
        run_id=result.run_id,
        status=result.status,
        result=to_json(result.result),
        error=None
        if error is None
        else to_json({"kind": error.kind, "message": error.message, "line": error.line, "column": error.column}),
        ended_at=ended_at,
    )


def not_recorded(result: RunResult, failure: Ending) -> RunResult:
    """The result of a run whose end could not be written, which the result then says; `failure` words it."""
    assert failure.error is not None
    if result.error is None:
        is_good = result.status in ("completed", "degraded")
        return replace(result, status="interrupted" if is_good else result.status, error=failure.error)
    if failure.error.message in result.error.message:
        return result
    message = f"{result.error.message.rstrip('.')}. The end of the run is not in its record: {failure.error.message}"
    return replace(result, error=replace(result.error, message=message))
