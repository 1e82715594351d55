"""The runs: those that go on anywhere on this machine, and those on this folder's record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from callsheet.app.control import open_control
from callsheet.app.records import Where
from callsheet.control.places import Reach
from callsheet.errors import CallsheetError
from callsheet.tui.cells import Cell
from callsheet.tui.dialogs import Choice, Option
from callsheet.tui.feed import Feed
from callsheet.tui.hints import CLOSE, HELP, Hints
from callsheet.tui.rows import Rows
from callsheet.tui.run_screen import RunScreen
from callsheet.tui.runs import RunEntry, entries, problem, run_cells, runs_head
from callsheet.views.figures import count
from callsheet.views.safe_text import one_line, visible

_HINTS = (HELP, ("enter", "open"), ("f", "filter"), ("x", "stop"), CLOSE)
_LOOK_AGAIN_S = 2.0
_STATUSES = (("a", "all"), ("w", "running"), ("c", "completed"), ("d", "degraded"), ("e", "failed"))
_MORE_STATUSES = (("i", "interrupted"), ("k", "cancelled"))


class RunsScreen(Screen[None]):
    """The list of runs, looked up anew every two seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter", "Filter"),
        Binding("x", "stop", "Stop"),
    ]

    def __init__(self, where: Where) -> None:
        """Makes it; `where` is whose record is listed."""
        super().__init__()
        self._where = where
        self._entries: dict[str, RunEntry] = {}
        self._status = "all"
        self._is_looking = False

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Rows(self._cells, head=runs_head, empty="No run yet. callsheet run SCRIPT starts one.", id="runs")
        yield Hints(_HINTS)

    def on_mount(self) -> None:
        """Looks, and goes on looking."""
        self.query_one(Rows).focus()
        self._look()
        self.set_interval(_LOOK_AGAIN_S, self._look)

    def on_screen_resume(self) -> None:
        """Looks again at once when one comes back."""
        self._look()

    def _look(self) -> None:
        if not self._is_looking and self.is_current:
            self._is_looking = True
            self.run_worker(self._read, thread=True)

    def _read(self) -> None:
        found, fault = entries(self._where), problem(self._where)
        self.app.call_from_thread(self._have, found, fault)

    def _have(self, found: Sequence[RunEntry], fault: str | None) -> None:
        self._is_looking = False
        self._entries = {entry.run_id: entry for entry in found}
        live = sum(entry.reach is not None for entry in found)
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append("callsheet", "bold")
        head.append(f"  {count(live, 'run')} on this machine, {count(len(found), 'run')} in all")
        if self._status != "all":
            head.append(f" · only {self._status}", "yellow")
        if fault is not None:
            head.append(f"\n{visible(fault)}", "red")
        self.query_one("#head", Static).update(head)
        self._list()

    def _list(self) -> None:
        rows = self.query_one(Rows)
        rows.show([entry.run_id for entry in self._entries.values() if self._status in ("all", entry.status)])
        rows.redraw()

    def _cells(self, key: str, width: int) -> Sequence[Cell]:
        return run_cells(self._entries[key], width)

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Opens the run."""
        self.app.push_screen(RunScreen(Feed(self._entries[event.key].run, self._where)))

    def action_filter(self) -> None:
        """Has chosen which runs are listed."""
        statuses = dict((*_STATUSES, *_MORE_STATUSES))

        def take(letter: str | None) -> None:
            if letter is not None:
                self._status = statuses[letter]
                self._look()
                self._list()

        at = next(letter for letter, status in statuses.items() if status == self._status)
        options = [Option(letter, status) for letter, status in statuses.items()]
        self.app.push_screen(Choice("Which runs?", options, at=at), take)

    def action_stop(self) -> None:
        """Stops the run under the cursor, if that is meant."""
        key = self.query_one(Rows).key
        entry = self._entries.get(key or "")
        if entry is None or entry.reach is None:
            self.app.notify("It does not go on.", severity="error", markup=False)
            return
        reach = entry.reach

        def go(letter: str | None) -> None:
            if letter == "y":
                self.app.run_worker(self._stop(reach))

        body = Text("Agents at work are cancelled and the record is closed. It can be resumed.")
        title = f"Stop the run {one_line(reach.run_id)} ({one_line(reach.workflow, 40)})?"
        self.app.push_screen(Choice(title, [Option("y", "stop it"), Option("n", "leave it")], body=body, at="n"), go)

    async def _stop(self, reach: Reach) -> None:
        try:
            async with open_control(reach) as control:
                await control.stop()
        except CallsheetError as fault:
            self.app.notify(visible(fault.message), severity="error", markup=False)
        else:
            self.app.notify(f"{reach.run_id} has ended", markup=False)
        self._look()
