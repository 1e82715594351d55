"""Names for the shell to complete: saved workflows, runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


_MOST_RUNS = 50


def workflow_items(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
    """The workflows whose name begins so; where there is none, what the shell itself finds: files."""
    from click.shell_completion import CompletionItem

    # bash forgets the names as soon as it is told of files
    return list(_items(incomplete, slash="")) or [CompletionItem(incomplete, type="file")]


def slash_items(incomplete: str) -> list[Any]:
    """The workflows whose name begins so, a `/` before each."""
    return list(_items(incomplete.removeprefix("/"), slash="/"))


def run_items(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
    """The runs whose id begins so: those that go on on this machine, and the newest of the record."""
    from click.shell_completion import CompletionItem

    from callsheet.app.control import live_runs
    from callsheet.app.records import Where, open_runs
    from callsheet.errors import CallsheetError
    from callsheet.views.safe_text import one_line

    place = Where(store=context.params.get("store"), workspace=context.params.get("workspace"))
    found = {reach.run_id: f"running · {reach.workflow}" for reach in live_runs(place)}
    try:
        with open_runs(place, is_checked=False) as runs:
            for each in runs.listed(limit=_MOST_RUNS):
                found.setdefault(each.run_id, f"{each.status} · {each.line.workflow or each.line.script_path}")
    except CallsheetError:  # no record here: those that go on are all there is
        pass
    known = {"last": "the newest of this folder", **found}
    return [
        CompletionItem(run_id, help=one_line(said, 80))
        for run_id, said in known.items()
        if run_id.startswith(incomplete) and run_id.isprintable()
    ]


def _items(beginning: str, *, slash: str) -> Iterator[CompletionItem]:
    from click.shell_completion import CompletionItem

    from callsheet.app.listing import workflows_here
    from callsheet.app.plan import Surroundings
    from callsheet.errors import CallsheetError
    from callsheet.views.safe_text import one_line

    try:
        around = Surroundings()
        shelf = workflows_here(start=around.start, home=around.home, environ=around.environ)
    except CallsheetError:  # a person who types is told nothing; the command itself will say it
        return
    for each in shelf.workflows:
        # A name with spaces cannot be completed in all shells: its file's name runs it too.
        name = each.by_file if any(map(str.isspace, each.name)) else each.name
        if each.problem is None and each.shadowed_by is None and name.startswith(beginning) and name.isprintable():
            yield CompletionItem(slash + name, help=one_line(each.description, 80))
