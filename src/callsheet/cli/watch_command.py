"""`callsheet watch`: the dashboard in the terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.completing import run_items
from callsheet.cli.reading import RUN_HELP, record_options, where
from callsheet.cli.streams import say

if TYPE_CHECKING:
    from callsheet.app.records import Where
    from callsheet.cli.detached import Started
    from callsheet.views.board import Board


@click.command(name="watch", short_help="Shows runs on a dashboard in the terminal.", epilog=RUN_HELP)
@click.argument("run", required=False, shell_complete=run_items)
@record_options
def watch(run: str | None, *, store: str | None, workspace: Path | None) -> int:
    """Shows a dashboard: the runs that go on in any process of yours on this machine and those on this folder's record,
    their phases, agents, questions and log; RUN is opened at once. ? there says what the keys do. Runs go on when it is
    closed.

    Exit status: 0, 1 where the record cannot be read, 2 where there is no such run, or no terminal.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    return guarded(lambda: _watch(where(store, workspace), run))


def show_started(started: Started) -> Board:
    """Shows a run that has just started; gives its board as it stood when the dashboard was closed.

    Raises:
        CallsheetError: It is not to be found any more.
    """
    from callsheet.app.records import Where
    from callsheet.tui.feed import found
    from callsheet.tui.watch import watch as show

    place = Where(store=started.record, workspace=Path(started.workspace))
    board = show(found(started.run_id, place), place)
    assert board is not None
    return board


def left_words(run_id: str, *, lost: str | None) -> list[str]:
    """What is said of a run that had not ended when the dashboard was closed."""
    if lost is not None:
        return [f"{run_id} does not go on: its process is gone", f"go on with it: callsheet resume {run_id}"]
    return [
        f"{run_id} goes on by itself",
        f"watch it:  callsheet watch {run_id}",
        f"stop it:   callsheet stop {run_id}",
    ]


def _watch(place: Where, name: str | None) -> int:
    from callsheet.tui.watch import check_terminal

    check_terminal(os.environ, instead=f"callsheet logs {name or 'RUN'} -f prints a run's events as lines.")
    from callsheet.tui.feed import found
    from callsheet.tui.watch import watch as show

    run = None if name is None else found(name, place)
    board = show(run, place)
    if board is not None and board.run_id and board.result is None:
        say(*left_words(board.run_id, lost=board.lost))
    return 0
