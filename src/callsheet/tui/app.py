"""The dashboard in the terminal: runs, one run, one agent. Runs go on when it is closed."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from callsheet.app.records import Where
from callsheet.tui.dialogs import Reading
from callsheet.tui.feed import Feed
from callsheet.tui.run_screen import RunScreen
from callsheet.tui.runs_screen import RunsScreen
from callsheet.tui.terminal_app import TerminalApp

HELP = """\
↑ ↓ j k      move              PgUp PgDn g G   further
Enter → l    go in             Esc ← h         go back
Tab          next list         mouse           click, double click

p   pause the run, go on       f   filter by status
x   stop an agent, or the run  t   timeline of the agents
r   start an agent over        o   the log, large
n   skip an agent              a   answer a question
m   message to an agent        s   save the script as a command
?   this help                  q   close; runs go on

r, n, m and x mean the agent under the cursor, or whose page is
shown. Where the cursor is on phases, or runs, x stops the run:
it asks first.

· queued   ● at work   ◌ waits
✓ ok   ✗ went wrong   » skipped   ■ cancelled"""


class Dashboard(TerminalApp[None]):
    """The screens, one over the other: runs at the bottom."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "explain", "Help"),
        Binding("q", "quit", "Close"),
        Binding("ctrl+c", "copy_or_quit", show=False, priority=True),
    ]

    def __init__(self, where: Where, feed: Feed | None = None) -> None:
        """Makes it.

        Args:
            where: Whose record's runs are listed.
            feed: Of the run that is shown first; None for the list.
        """
        super().__init__()
        self._where = where
        self._first = feed

    def on_mount(self) -> None:
        """Shows the runs, and over them the run that was asked for."""
        self.push_screen(RunsScreen(self._where))
        if self._first is not None:
            self.push_screen(RunScreen(self._first))

    async def action_copy_or_quit(self) -> None:
        """Copies what is marked; else closes."""
        if not self.copy_marked():
            await self.action_quit()

    def action_explain(self) -> None:
        """Says what the keys do."""
        if not isinstance(self.screen, Reading):
            self.push_screen(Reading("Keys", Text(HELP)))
