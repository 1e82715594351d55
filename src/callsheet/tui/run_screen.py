"""One run: how it stands, its phases, the agents of a phase or their timeline, its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Static

from callsheet.model.dataclass import dataclass
from callsheet.tui import lines
from callsheet.tui.cells import Cell
from callsheet.tui.deeds import DeedScreen
from callsheet.tui.dialogs import Choice, Option, Reading
from callsheet.tui.feed import Feed
from callsheet.tui.hints import CLOSE, HELP, OF_AGENT, OF_RUN, Hints
from callsheet.tui.rows import Rows
from callsheet.views.board import Board, BoardAgent, BoardLine, PhaseKey
from callsheet.views.figures import duration
from callsheet.views.safe_text import one_line, visible

FRAME_S = 0.2
"""The screen is drawn at most so often; of a time that passes, once a second."""

_HINTS = (
    HELP,
    CLOSE,
    ("p", "pause"),
    ("x", "stop"),
    ("r", "restart"),
    ("n", "skip"),
    ("m", "message"),
    ("f", "filter"),
    ("t", "timeline"),
    ("s", "save"),
    ("o", "log"),
)
_ALL = "all"
_TALL_ROWS = 20
_FEW_ROWS = 12
_FRAMES_A_SECOND = 5


@dataclass(frozen=True, slots=True)
class Filter:
    """Which agents are listed."""

    letter: str
    words: str
    states: tuple[str, ...] = ()
    is_badly: bool = False

    def takes(self, agent: BoardAgent) -> bool:
        """Whether an agent is among them."""
        if self.is_badly:
            return agent.ended_badly
        return not self.states or agent.state in self.states


FILTERS = (
    Filter("a", "all"),
    Filter("w", "at work", ("running", "waiting")),
    Filter("i", "waiting for something", ("waiting",)),
    Filter("u", "queued", ("queued",)),
    Filter("e", "ended", ("ended",)),
    Filter("b", "ended badly", is_badly=True),
)


class RunScreen(DeedScreen):
    """A run as it stands, drawn anew where its board has changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause"),
        Binding("x", "stop", "Stop"),
        Binding("r", "restart", "Restart"),
        Binding("n", "skip", "Skip"),
        Binding("m", "message", "Message"),
        Binding("a", "answer", "Answer", show=False),
        Binding("f", "filter", "Filter"),
        Binding("t", "timeline", "Timeline"),
        Binding("o", "log", "Log", show=False),
        Binding("s", "save", "Save"),
        Binding("escape,left,h,backspace", "back", "Back", show=False),
        Binding("tab", "app.focus_next", "Next list", show=False),
        Binding("shift+tab", "app.focus_previous", "List before", show=False),
    ]

    def __init__(self, feed: Feed) -> None:
        """Makes it; it follows the feed for as long as it is there."""
        super().__init__(feed)
        self._filter = FILTERS[0]
        self._phase: PhaseKey | None = None
        self._phase_keys: dict[str, PhaseKey] = {}
        self._is_timeline = False
        self._log: dict[str, BoardLine] = {}
        self._drawn: tuple[Board | None, int, int] = (None, 0, -1)
        self._frames = 0

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="said", classes="nothing")
        yield Static(id="asked", classes="nothing")
        yield Rows(self._phase_cells, head=lines.phases_head, id="phases")
        yield Rows(self._agent_cells, head=self._agents_head, empty="no agents", id="agents")
        yield Rows(self._log_cells, head=self._log_head, empty="nothing was said yet", id="log")
        yield Hints(_HINTS)

    def on_mount(self) -> None:
        """Draws, and goes on drawing."""
        self._phases, self._agents, self._lines = (
            self.query_one("#phases", Rows),
            self.query_one("#agents", Rows),
            self.query_one("#log", Rows),
        )
        self._phases.focus()
        self.run_worker(self.feed.follow())
        self._draw()
        self.set_interval(FRAME_S, self._frame)

    # --- what is drawn ----------------------------------------------------------------------------------------------

    def _frame(self) -> None:
        self._frames += 1
        board, version = self.feed.board, self.feed.version
        if board is not self._drawn[0] or version != self._drawn[2]:
            self._draw()
        elif self._frames % _FRAMES_A_SECOND == 0 and self.feed.is_live:
            self._pass_time()

    def _draw(self) -> None:
        board = self.feed.board
        before, seq, _ = self._drawn
        is_new = board is not before or board.began_at_seq > seq
        self._drawn = (board, board.seq, self.feed.version)
        self._draw_head()
        self.query_one(Hints).leave_out(OF_RUN + OF_AGENT if board.is_over else "")
        self._phase_keys = {_ALL: (None, None)} | {repr(key): key for key in board.phases}
        self._phases.show(tuple(self._phase_keys))
        self._fit()
        self._list_agents()
        self._list_log()
        if is_new:
            for rows in (self._phases, self._agents, self._lines):
                rows.redraw()
            return
        self._phases.redraw([_ALL, *(repr(phase.key) for phase in board.phases_changed_since(seq))])
        self._agents.redraw(None if self._is_timeline else [agent.agent_id for agent in board.changed_since(seq)])
        if self._frames % _FRAMES_A_SECOND == 0:
            self._pass_time()

    def _pass_time(self) -> None:
        """Draws what changes though nothing happens."""
        board = self.feed.board
        self._draw_head()
        self._phases.redraw([_ALL, *(repr(key) for key, phase in board.phases.items() if phase.is_at_work)])
        if self._is_timeline:
            self._agents.redraw()
        else:
            at_work = [agent.agent_id for agent in board.agents.values() if agent.state in ("running", "waiting")]
            self._agents.redraw(at_work)

    def _draw_head(self) -> None:
        board, now = self.feed.board, self.feed.now()
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(one_line(board.workflow or "…", 60), "bold")
        status = "process gone" if board.lost is not None else one_line(board.status, 40)
        text.append(f"  {status}", lines.run_style("failed" if board.lost is not None else board.status))
        text.append(f" · {duration(board.elapsed_s(now))} · {one_line(board.backend or '?', 30)} · {self.feed.run_id}")
        text.append(f"\n{lines.spent(board)} · {lines.counts(board)}")
        for line in lines.waits(board, now):
            text.append(f"\n{line}", "yellow")
        if board.result is not None and board.result.error is not None:
            text.append(f"\n{one_line(board.result.error.message, 300)}", "red")
        self.put("#head", text)
        self.draw_said(now)

    def _list_agents(self) -> None:
        board, phase = self.feed.board, self._phase
        listed = [
            agent.agent_id
            for agent in board.agents.values()
            if (phase is None or agent.key == phase) and self._filter.takes(agent)
        ]
        self._agents.show(listed)

    def _list_log(self) -> None:
        board = self.feed.board
        rows = self._lines
        is_at_end = not rows.keys or rows.key == rows.keys[-1]
        self._log = {f"{line.seq}": line for line in board.log}
        rows.show(tuple(self._log))
        if is_at_end:
            rows.action_edge(1)

    def on_resize(self, event: Resize) -> None:
        """Shares out the rows anew."""
        self.set_class(event.size.height < _TALL_ROWS, "short")
        self.set_class(event.size.height < _FEW_ROWS, "tiny")
        self._fit()

    def _fit(self) -> None:
        """The phases have as many rows as they need, up to a third of the screen."""
        if self.is_mounted:
            rows = min(len(self._phase_keys) + 1, max(2, self.size.height // 3))
            if self._phases.styles.height is None or self._phases.styles.height.value != rows:
                self._phases.styles.height = rows

    def _phase_cells(self, key: str, width: int) -> Sequence[Cell]:
        board, now = self.feed.board, self.feed.now()
        if key == _ALL:
            return lines.all_cells(board, width, now)
        phase = board.phases.get(self._phase_keys[key])
        return [] if phase is None else lines.phase_cells(phase, width, now)

    def _agents_head(self, width: int) -> Sequence[Cell]:
        now = self.feed.now()
        cells = lines.timeline_head(self.feed.board, width, now) if self._is_timeline else lines.agents_head(width)
        words = "" if self._filter.letter == "a" else f" ({self._filter.words})"
        return [Cell(f"agent{words}", cell.width) if cell.text == "agent" else cell for cell in cells]

    def _agent_cells(self, key: str, width: int) -> Sequence[Cell]:
        agent, now = self.feed.board.agents.get(key), self.feed.now()
        if agent is None:
            return []
        if self._is_timeline:
            return lines.timeline_cells(agent, self.feed.board, width, now)
        return lines.agent_cells(agent, width, now)

    def _log_head(self, _width: int) -> Sequence[Cell]:
        return [Cell("time", 8), Cell("log")]

    def _log_cells(self, key: str, _width: int) -> Sequence[Cell]:
        line = self._log.get(key)
        return [] if line is None else lines.log_cells(line)

    # --- what is pressed --------------------------------------------------------------------------------------------

    @property
    def agent_id(self) -> str | None:
        """The agent under the cursor, where keys go to the agents."""
        return self._agents.key if self._agents.has_focus else None

    def on_rows_moved(self, event: Rows.Moved) -> None:
        """The agents listed are those of the phase under the cursor."""
        if event.rows is self._phases and event.key is not None:
            phase = None if event.key == _ALL else self._phase_keys[event.key]
            if phase != self._phase:
                self._phase = phase
                self._list_agents()
                self._agents.redraw()

    def on_rows_chosen(self, event: Rows.Chosen) -> None:
        """Goes in: from phases to agents, from an agent to its page, from a line of the log to the whole of it."""
        if event.rows is self._phases:
            self._agents.focus()
        elif event.rows is self._agents:
            from callsheet.tui.agent_screen import AgentScreen

            self.app.push_screen(AgentScreen(self.feed, event.key))
        elif (line := self._log.get(event.key)) is not None:
            self.app.push_screen(Reading(f"{lines.clock(line.at)} {one_line(line.level)}", Text(visible(line.message))))

    def action_back(self) -> None:
        """Goes out: to the phases, then to the runs."""
        if self._phases.has_focus:
            self.app.pop_screen()
        else:
            self._phases.focus()

    def action_timeline(self) -> None:
        """Lists agents along time, or as they were."""
        self._is_timeline = not self._is_timeline
        self._agents.redraw()

    def action_log(self) -> None:
        """Gives the log most of the screen, or as little as before."""
        rows = self._lines
        rows.toggle_class("tall")
        if rows.has_class("tall"):
            rows.focus()
            rows.action_edge(1)
        elif rows.has_focus:
            self._phases.focus()

    def action_filter(self) -> None:
        """Has chosen which agents are listed."""

        def take(letter: str | None) -> None:
            for each in FILTERS:
                if each.letter == letter:
                    self._filter = each
                    self._list_agents()
                    self._agents.redraw()
                    self._agents.focus()

        options = [Option(each.letter, each.words) for each in FILTERS]
        self.app.push_screen(Choice("Which agents?", options, at=self._filter.letter), take)
