"""Names for the shell to complete: saved workflows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def workflow_items(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
    """The workflows whose name begins so; where there is none, what the shell itself finds: files."""
    from click.shell_completion import CompletionItem

    # bash forgets the names as soon as it is told of files
    return list(_items(incomplete, slash="")) or [CompletionItem(incomplete, type="file")]


def slash_items(incomplete: str) -> list[Any]:
    """The workflows whose name begins so, a `/` before each."""
    return list(_items(incomplete.removeprefix("/"), slash="/"))


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
