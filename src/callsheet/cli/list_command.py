"""`callsheet list`: what can be run by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import columns, json_line, json_option, printed

if TYPE_CHECKING:
    from callsheet.app.listing import Shelf
    from callsheet.library.workflows import Listed

_NAME_CHARS = 60
_DESCRIPTION_CHARS = 100
_WHEN_CHARS = 160


@click.command(name="list", short_help="Lists the workflows that can be run by name.")
@json_option
@click.option("--workspace", type=click.Path(path_type=Path), help="Whose workflows.  [default: the git root]")
def list_workflows(*, as_json: bool, workspace: Path | None) -> int:
    """Lists the workflows that can be run by name: those of the nearest .claude/workflows up to the repository's root,
    the user's own, those of installed packages, and those that come with Callsheet. Of one name the nearest runs.

    Exit status: 0, 2 where there is no such workspace.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _list(workspace, as_json=as_json))


def _list(workspace: Path | None, *, as_json: bool) -> int:
    from callsheet.app.listing import workflows_here
    from callsheet.app.plan import Surroundings

    around = Surroundings()
    shelf = workflows_here(start=around.start, home=around.home, environ=around.environ, workspace=workspace)
    return printed([json_line(shelf.public)], is_json=True) if as_json else printed(_lines(shelf, around.home))


def _lines(shelf: Shelf, home: Path) -> Iterator[str]:
    from callsheet.views.safe_text import one_line

    runnable = [each for each in shelf.workflows if each.problem is None and each.shadowed_by is None]
    shadowed = [each for each in shelf.workflows if each.problem is None and each.shadowed_by is not None]
    broken = [each for each in shelf.workflows if each.problem is not None]
    if not runnable:
        yield f"No workflow can be run by name here. Looked in {', '.join(map(one_line, shelf.folders))}."
        yield "callsheet new NAME makes one."
    rows = columns([(one_line(each.name, _NAME_CHARS), _said(each), each.source) for each in runnable])
    for row, each in zip(rows, runnable, strict=True):
        yield row
        if each.when_to_use:
            yield f"    {one_line(each.when_to_use, _WHEN_CHARS)}"
    for each in shadowed:
        nearer = _shown(each.shadowed_by or "", shelf, home)
        yield f"shadowed: {one_line(each.name, _NAME_CHARS)} of {_shown(each.path, shelf, home)} by {nearer}"
    for each in broken:
        yield f"cannot be run: {_shown(each.path, shelf, home)}: {one_line(each.problem or '')}"
    if runnable:
        yield ""
        yield "callsheet /NAME words… runs one · callsheet show NAME shows it · callsheet check looks for mistakes"


def _said(listed: Listed) -> str:
    from callsheet.views.safe_text import one_line

    return one_line(listed.description, _DESCRIPTION_CHARS)


def _shown(path: str, shelf: Shelf, home: Path) -> str:
    from callsheet.views.safe_text import one_line

    for folder, sign in ((shelf.root, ""), (home, "~/")):
        if Path(path).is_relative_to(folder):
            return one_line(f"{sign}{Path(path).relative_to(folder)}")
    return one_line(path)
