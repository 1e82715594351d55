"""`callsheet graph`: the calls of a run, and which results had been seen when each was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from callsheet.cli.reading import RUN_HELP, json_line, opened_run, printed, record_options, run_argument, where
from callsheet.cli.streams import say

if TYPE_CHECKING:
    from callsheet.app.records import Where

Form = Literal["json", "mermaid", "dot"]


@click.command(name="graph", short_help="Gives a run's graph: its calls, and what each had seen.", epilog=RUN_HELP)
@run_argument
@click.option(
    "--format", "form", type=click.Choice(["json", "mermaid", "dot"]), default="json", show_default=True, help="Of it."
)
@record_options
def graph(run: str, *, form: Form, store: str | None, workspace: Path | None) -> int:
    """Gives the graph of a run from its record: nodes are calls, with phase, nesting, tokens, time and status.

    An edge leads from a result to a call that was made when that result had been seen: `led_to` where the call was made
    as soon as it was there, else `seen` (dotted). What had been seen through another call has no edge of its own.

    Exit status: 0, 1 where the record cannot be read, 2 where there is no such run.
    """
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _graph(where(store, workspace), run, form))


def _graph(place: Where, name: str, form: Form) -> int:
    from callsheet.app.graph import graph_json, graph_of

    with opened_run(place, name) as (runs, run):
        found = graph_of(runs.record, run)
    if not found.is_known:
        say("note: the record is older than the graph's edges: it does not say what each call had seen.")
    if found.left_out:
        say(
            f"note: {found.left_out:,} edges to what had only been seen are left out; `seen` and `delivered` have them."
        )
    if form == "json":
        return printed([json_line(graph_json(found))], is_json=True)
    from callsheet.cli.graph_formats import dot_lines, mermaid_lines

    return printed(mermaid_lines(found) if form == "mermaid" else dot_lines(found))
