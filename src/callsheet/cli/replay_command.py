"""`callsheet replay`: a recorded run again from its record alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.reading import json_line, printed, record_options, run_argument, where
from callsheet.cli.status import COMPLETED, DEGRADED, INTERRUPTED, USAGE
from callsheet.cli.streams import say
from callsheet.views.safe_text import one_line, visible

if TYPE_CHECKING:
    from callsheet.app.replaying import ReplayOrder
    from callsheet.errors import ScriptRefusedError
    from callsheet.model.replayed import Difference, ReplayResult

_SHOWN = 20
_SIDE_CHARS = 240
_STATUS = {"same": COMPLETED, "differs": DEGRADED, "partial": INTERRUPTED}


@click.command(
    name="replay",
    short_help="Runs a recorded run again from its record alone, and says what differs.",
    epilog="RUN is a run's id, its beginning, `last`, or a file of callsheet export.",
)
@run_argument
@click.option("--script", metavar="SCRIPT|NAME|-", help="Hold this script against the record.  [default: as recorded]")
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice(["labels", "phases", "limits", "logs", "result"]),
    help="What may be other than recorded; may be given again.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Of the report.")
@record_options
def replay(run: str, **flags: Any) -> int:
    """Runs a recorded run again from its record alone: no agent is asked, nothing costs, no file is touched.

    Each call gets what it got then, in the order of then, with the clock, random numbers and budget of then. What is
    other than recorded is named with both sides: a call that asks for something else, calls that are not made (any
    more) or are made besides, labels, phases and limits of calls, what the script logs, its result or error. With
    --script an edited script is held against the record: a test for it that needs no model.

    The workspace need not be there: --store names a record that was brought along. A run that was interrupted is
    replayed as far as its record goes.

    Exit status: 0 all as recorded, 1 the record cannot be read or the sandbox not be started, 2 wrong usage, no such
    run, or a refused script, 3 something differs, 6 as recorded so far as the record goes, which has no end,
    130 stopped by a person.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _replay(run, flags))


def _replay(run: str, flags: dict[str, Any]) -> int:
    import anyio

    from callsheet.app.plan import Surroundings
    from callsheet.app.replaying import replay as run_again
    from callsheet.app.replaying import replay_json
    from callsheet.errors import ScriptRefusedError

    order = _order(run, flags)
    try:
        found = anyio.run(run_again, order, Surroundings())
    except ScriptRefusedError as fault:
        return _refused(fault, order)
    if flags["output"] == "json":
        return printed([json_line(replay_json(found))], is_json=True) or _STATUS[found.status]
    return printed(_lines(found)) or _STATUS[found.status]


def _order(run: str, flags: dict[str, Any]) -> ReplayOrder:
    from callsheet.app.replaying import ReplayOrder
    from callsheet.app.source import STDIN
    from callsheet.model.script import MAX_SCRIPT_BYTES

    place: Path | None = flags["workspace"]
    return ReplayOrder(
        run=run,
        script=flags["script"],
        ignore=flags["ignore"],
        where=where(flags["store"], place),
        stdin=sys.stdin.buffer.read(MAX_SCRIPT_BYTES + 1) if flags["script"] == STDIN else None,
    )


def _refused(fault: ScriptRefusedError, order: ReplayOrder) -> int:
    from callsheet.cli.findings import finding_lines

    for finding in fault.findings:
        say(*finding_lines(finding, order.script or "the recorded script"))
    return USAGE


# --- in words ---------------------------------------------------------------------------------------------------------


def _lines(found: ReplayResult) -> Iterator[str]:
    what = one_line(found.workflow or found.run_id, 60)
    script = "" if found.script == "recorded" else f", with {one_line(found.script, 120)}"
    calls = f"{found.calls} of {found.recorded_calls} calls"
    head = f"{found.run_id} ({what}, {found.recorded_status}){script}"
    count = len(found.differences)
    match found.status:
        case "same":
            yield f"{head}: as recorded, {calls}, {found.duration_ms / 1000:.2f} s"
        case "partial":
            yield f"{head}: as recorded so far as the record goes, {calls}"
        case "differs":
            yield f"{head}: differs from its record in {count} {'place' if count == 1 else 'places'}, {calls} compared"
    for difference in found.differences[:_SHOWN]:
        yield from _difference_lines(difference)
    if count > _SHOWN:
        yield f"  … and {count - _SHOWN:,} more: --output json has them all"
    if found.stop is not None:
        yield f"  it ends there: {visible(found.stop)}"
    for note in found.notes:
        yield f"  note: {visible(note)}"


def _difference_lines(difference: Difference) -> Iterator[str]:
    yield f"  {one_line(difference.message, 300)}"
    for side, text in (("recorded", difference.recorded), ("now", difference.now)):
        shown = "(nothing)" if text is None else one_line(text, _SIDE_CHARS)
        if not (text is None and difference.kind == "missing"):
            yield f"      {side + ':':<9} {shown}"
