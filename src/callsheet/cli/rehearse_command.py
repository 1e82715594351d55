"""`callsheet rehearse` and `callsheet run --dry-run`: what a run would do, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callsheet.cli.boundary import guarded
from callsheet.cli.reading import json_line, printed
from callsheet.cli.status import COMPLETED, FAILED, OVER_BUDGET, STOPPED, USAGE
from callsheet.cli.streams import say
from callsheet.errors import CallsheetError, ScriptRefusedError, UsageError

if TYPE_CHECKING:
    from callsheet.model.rehearsal import Breach, Rehearsal


def rehearse_flags(flags: Mapping[str, Any]) -> int:
    """Rehearses what the flags of `callsheet run` ask for, shows the report on standard output, gives the status."""
    is_json = flags["output"] == "json"
    return guarded(lambda: _rehearse(flags, is_json=is_json), tell=lambda fault: _tell(fault, is_json=is_json))


def _rehearse(flags: Mapping[str, Any], *, is_json: bool) -> int:
    import anyio

    from callsheet.app.plan import Surroundings
    from callsheet.app.rehearsal import RehearsalOrder, rehearse
    from callsheet.app.rehearsal_limits import breaches, parse_limits
    from callsheet.cli.order import order_of

    if flags["output"] == "jsonl":
        raise UsageError("--output jsonl: a rehearsal has no events to show. Take text or json.")
    limits = parse_limits(flags["fail_over"])
    order = RehearsalOrder(run=order_of(flags), answers_from=flags["answers_from"])
    try:
        told = anyio.run(rehearse, order, Surroundings())
    except ScriptRefusedError as fault:
        return _refused(fault, flags["script"] or "", is_json=is_json)
    except KeyboardInterrupt:
        return STOPPED
    found = breaches(told, limits)
    status = _show(told, found, is_json=is_json, is_quiet=flags["quiet"])
    if told.status in ("failed", "interrupted"):
        return FAILED
    return OVER_BUDGET if found else status


def _show(told: Rehearsal, found: tuple[Breach, ...], *, is_json: bool, is_quiet: bool) -> int:
    from callsheet.app.rehearsal_json import rehearsal_json
    from callsheet.cli.rehearsal_lines import breach_line, rehearsal_lines

    say(*(breach_line(breach) for breach in found))
    if is_json:
        return printed([json_line(rehearsal_json(told, found))], is_json=True)
    return COMPLETED if is_quiet else printed(rehearsal_lines(told))


def _refused(fault: ScriptRefusedError, script: str, *, is_json: bool) -> int:
    from callsheet.cli.findings import finding_lines

    for finding in fault.findings:
        say(*finding_lines(finding, script))
    _tell(fault, is_json=is_json)
    return USAGE


def _tell(fault: CallsheetError, *, is_json: bool) -> None:
    """The object of a rehearsal that never began, where objects are printed."""
    if not is_json:
        return
    from callsheet.app.rehearsal_json import refusal_json

    printed([json_line(refusal_json(fault))], is_json=True)
