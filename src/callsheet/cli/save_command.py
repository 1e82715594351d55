"""`callsheet save`: the script of a run becomes a workflow with a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import RUN_HELP, opened_run, printed, record_options, run_argument, where

if TYPE_CHECKING:
    from callsheet.app.records import Where
    from callsheet.app.shelving import Shelved, Target


@click.command(name="save", short_help="Keeps the script of a run as a workflow with a name.", epilog=RUN_HELP)
@run_argument
@click.option("--as", "name", metavar="NAME", help="What it is called.  [default: its meta.name]")
@click.option("--user", "is_user", is_flag=True, help="In your own ~/.claude/workflows, for all your repositories.")
@click.option("--force", "is_forced", is_flag=True, help="Replace a file that is there.")
@record_options
def save(
    run: str, *, name: str | None, is_user: bool, is_forced: bool, store: str | None, workspace: Path | None
) -> int:
    """Keeps the script of a run in .claude/workflows of the workspace; without RUN that of the newest. From then on
    callsheet /NAME runs it. Links are not followed, and no other file is replaced unless --force says so.

    Exit status: 0, 1 where the record cannot be read, 2 where there is no such run or it cannot be saved so.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    place = where(store, workspace)
    return guarded(lambda: _save(place, run, name, target(workspace, is_user=is_user, is_forced=is_forced)))


def _save(place: Where, run_name: str, name: str | None, target: Target) -> int:
    from callsheet.app.shelving import saved

    with opened_run(place, run_name, as_written=True) as (runs, run):
        return print_shelved(saved(runs, run, target, name=name), verb="saved")


def target(workspace: Path | None, *, is_user: bool, is_forced: bool) -> Target:
    """Where the options put a workflow."""
    from callsheet.app.plan import Surroundings
    from callsheet.app.shelving import Target

    around = Surroundings()
    return Target(
        start=around.start,
        home=around.home,
        environ=around.environ,
        workspace=workspace,
        is_user=is_user,
        is_forced=is_forced,
    )


def print_shelved(shelved: Shelved, *, verb: str) -> int:
    """Says where a workflow is now, and how it is run."""
    from callsheet.cli.streams import say

    *notes, there, run = shelved_lines(shelved, verb=verb)
    for note in notes:
        say(note)
    return printed([there, run])


def shelved_lines(shelved: Shelved, *, verb: str) -> list[str]:
    """What is to be known about its name, where a workflow is now, and how it is run: the last two lines."""
    from callsheet.views.safe_text import one_line

    said = verb if shelved.is_new else "there already"
    slash = f"/{shelved.name}" if not any(map(str.isspace, shelved.name)) else f"'/{shelved.name}'"
    return [
        *(f"note: {one_line(note)}" for note in shelved.notes),
        f"{said}: {one_line(str(shelved.path))}",
        f"run it: callsheet {one_line(slash)}",
    ]
