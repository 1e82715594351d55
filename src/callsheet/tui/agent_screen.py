"""One agent: its prompt, what it does now, its tokens and cost, its result and files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widgets import Static

from callsheet.app.agent_page import AgentPage, agent_page
from callsheet.app.records import open_runs
from callsheet.errors import CallsheetError
from callsheet.tui import lines
from callsheet.tui.cells import fitted, style_of
from callsheet.tui.deeds import DeedScreen
from callsheet.tui.feed import Feed
from callsheet.tui.hints import CLOSE, HELP, OF_AGENT, OF_RUN, Hints
from callsheet.tui.marking import Span, inside, segments
from callsheet.tui.page import Row, page_rows
from callsheet.views.safe_text import one_line

_HINTS = (
    HELP,
    CLOSE,
    ("escape", "back"),
    ("tab", "next part"),
    ("p", "pause"),
    ("x", "stop"),
    ("r", "restart"),
    ("n", "skip"),
    ("m", "message"),
)
_MARGIN = 1
_LOOK_AGAIN_S = 1.0
"""How often the record is looked at for an agent at work."""


class Page(ScrollView, can_focus=True):
    """Rows of text, of which only what is seen is drawn. Who reads its end goes on doing so as it grows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_down", show=False),
        Binding("k,up", "scroll_up", show=False),
        Binding("g,home", "scroll_home", show=False),
        Binding("G,end", "scroll_end", show=False),
        Binding("tab", "section(1)", "Next part"),
        Binding("shift+tab", "section(-1)", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="page")
        self._rows: list[Row] = []
        self._span_of: Callable[[int], Span | None] | None = None

    @property
    def columns(self) -> int:
        """Of its rows."""
        return max(0, self.scrollable_content_region.width - 2 * _MARGIN)

    def show(self, rows: list[Row]) -> None:
        """Shows these rows from now on."""
        if rows == self._rows:
            return
        was_at_end = self._rows and self.max_scroll_y > 0 and self.scroll_offset.y >= self.max_scroll_y
        self._rows = rows
        self.virtual_size = Size(0, len(rows))
        self.refresh()
        if was_at_end:
            self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        at = self.scroll_offset.y + y
        if at >= len(self._rows):
            return Strip.blank(self.columns, style_of(""))
        row = self._rows[at]
        span = None if self._span_of is None else self._span_of(at)
        text = segments(fitted(row.text, self.columns), row.style, span, before=_MARGIN)
        return Strip([Segment(" " * _MARGIN), *text]).apply_offsets(0, at)

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """The text that is marked with the mouse."""
        spans = ((row, selection.get_span(at)) for at, row in enumerate(self._rows))
        return "\n".join(inside(row.text, span, before=_MARGIN) for row, span in spans if span is not None), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self._span_of = None if selection is None else selection.get_span
        self.refresh()

    def action_section(self, by: int) -> None:
        """Goes to the next section, or the one before."""
        top = self.scroll_offset.y
        heads = [at for at, row in enumerate(self._rows) if row.is_head]
        further = [at for at in heads if at > top] if by > 0 else [at for at in reversed(heads) if at < top]
        self.scroll_to(y=further[0] if further else (self.max_scroll_y if by > 0 else 0), animate=False)


class AgentScreen(DeedScreen):
    """An agent as it stands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause"),
        Binding("x", "stop", "Stop"),
        Binding("r", "restart", "Restart"),
        Binding("n", "skip", "Skip"),
        Binding("m", "message", "Message"),
        Binding("a", "answer", "Answer", show=False),
        Binding("s", "save", "Save", show=False),
        Binding("escape,left,h,backspace", "app.pop_screen", "Back"),
    ]

    def __init__(self, feed: Feed, agent_id: str) -> None:
        """Makes it.

        Args:
            feed: Of its run.
            agent_id: The agent.
        """
        super().__init__(feed)
        self._agent_id = agent_id
        self._page: AgentPage | None = None
        self._drawn = (-1, 0, 0)
        self._read_at: tuple[int, datetime] | None = None
        self._is_reading = False

    @property
    def agent_id(self) -> str:
        """Keys mean this agent."""
        return self._agent_id

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="said", classes="nothing")
        yield Static(id="asked", classes="nothing")
        yield Page()
        yield Hints(_HINTS)

    def on_mount(self) -> None:
        """Draws, and goes on drawing."""
        self.query_one(Page).focus()
        self._frame()
        self.set_interval(0.2, self._frame)

    def on_resize(self, _event: Resize) -> None:
        """Breaks the lines anew."""
        self._drawn = (-1, 0, 0)

    def _frame(self) -> None:
        board = self.feed.board
        agent = board.agents.get(self._agent_id)
        if agent is None:
            return
        self._read_if_needed(agent.changed_at, is_at_work=agent.state != "ended")
        second = int(datetime.now(UTC).timestamp()) if self.feed.is_live else 0
        page = self.query_one(Page)
        width = page.columns  # another as soon as what is shown needs a scrollbar
        if (self.feed.version, second, width) == self._drawn:
            return
        self._drawn = (self.feed.version, second, width)
        vain = OF_RUN + OF_AGENT if board.is_over else OF_AGENT if agent.state == "ended" else ""
        self.query_one(Hints).leave_out(vain)
        now = self.feed.now()
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(one_line(board.workflow or "…", 60), "bold")
        status = "process gone" if board.lost is not None else one_line(board.status, 40)
        head.append(f"  {status}", lines.run_style("failed" if board.lost is not None else board.status))
        head.append(f" · {lines.spent(board)} · {self.feed.run_id}")
        self.put("#head", head)
        self.draw_said(now)
        if width:
            page.show(page_rows(agent, self._page, width, now))

    def _read_if_needed(self, changed_at: int, *, is_at_work: bool) -> None:
        """Reads the record again where there may be more in it: something happened, or a second of work has passed."""
        now = datetime.now(UTC)
        if self._is_reading:
            return
        if self._read_at is not None:
            seq, at = self._read_at
            is_old = is_at_work and (now - at).total_seconds() >= _LOOK_AGAIN_S
            if seq == changed_at and not is_old:
                return
        self._is_reading, self._read_at = True, (changed_at, now)
        self.run_worker(self._read, thread=True)

    def _read(self) -> None:
        page: AgentPage | None
        try:
            with open_runs(self.feed.where, is_checked=False) as runs:
                page = agent_page(runs.record, self.feed.run_id, self._agent_id)
        except CallsheetError:
            page = self._page  # not on record yet, or no record to be had: what the events said is shown
        self.app.call_from_thread(self._have, page)

    def _have(self, page: AgentPage | None) -> None:
        self._is_reading = False
        if page != self._page:
            self._page = page
            self._drawn = (-1, 0, 0)
