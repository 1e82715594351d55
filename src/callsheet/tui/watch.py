"""Opens the dashboard on this process's terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from callsheet.app.records import Where
from callsheet.control.places import Reach
from callsheet.errors import UsageError
from callsheet.views.board import Board


def check_terminal(environ: Mapping[str, str], *, instead: str) -> None:
    """Sees that there is a terminal to draw on and to take keys from.

    Args:
        environ: The host's, for `TERM`.
        instead: What to do where there is none, as a sentence.

    Raises:
        UsageError: There is none.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(f"the dashboard needs a terminal, and this is none. {instead}")
    if environ.get("TERM", "dumb") in ("", "dumb"):
        raise UsageError(f"the dashboard needs a terminal that can move its cursor, and TERM says otherwise. {instead}")


def watch(run: str | Reach | None, where: Where) -> Board | None:
    """Shows the dashboard until the person closes it; gives the board of the run that was asked for, as it then stood.

    Runs go on.

    Args:
        run: As `feed.found` gives it; None for the list of runs.
        where: Whose record's runs are listed.

    Raises:
        UsageError: There is no terminal.
    """
    check_terminal(os.environ, instead="callsheet logs RUN -f prints a run's events as lines.")
    from callsheet.tui.app import Dashboard
    from callsheet.tui.feed import Feed

    feed = None if run is None else Feed(run, where)
    app = Dashboard(where, feed)
    app.run()
    if app.fault is not None:
        raise app.fault
    return None if feed is None else feed.board
