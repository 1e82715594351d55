"""The transcript of a session: a list of entries of any length, of which only what is seen is drawn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click, Key, Resize
from textual.geometry import Offset, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from callsheet.app.session_model import Refused, Told
from callsheet.app.session_transcript import Entry
from callsheet.tui.cells import fitted, style_of
from callsheet.tui.marking import Span, inside, segments
from callsheet.tui.session_entries import GUTTER, Row, command_rows, entry_rows, greeting_rows, run_of, size_of

_FEWEST_COLUMNS = 10
_MARGIN = 1
_BEFORE_TEXT = _MARGIN + GUTTER
"""Columns at the left of a row's text."""
_ROWS_OF_A_BLOCK = 1_000_000
"""More than any has. A place in the text is named by block and row, so that it stays the same while others grow."""


class Block:
    """An entry, or what a command said. It is broken into rows when it comes into sight: there may be very many.

    Attributes:
        rows: As it is drawn; None where that is not known yet.
        run_id: The run that it is about; None for none.
    """

    __slots__ = ("_draw", "_size", "height", "rows", "run_id")

    def __init__(self, draw: Callable[[int], list[Row]], size: tuple[int, int], run_id: str | None) -> None:
        """Makes it.

        Args:
            draw: Breaks it into rows of so many columns.
            size: Its characters, and the rows that it has at least: for a guess.
            run_id: The run that it is about.
        """
        self._draw, self._size, self.run_id = draw, size, run_id
        self.rows: list[Row] | None = None
        self.height = 1

    def guess(self, width: int) -> None:
        """Forgets its rows, and takes a height that may be right."""
        chars, least = self._size
        self.rows, self.height = None, least + chars // max(1, width)

    def draw_at(self, width: int) -> None:
        """Breaks it into rows."""
        self.rows = self._draw(width)
        self.height = len(self.rows)

    def rows_at(self, width: int) -> list[Row]:
        """Its rows, also where it was never in sight."""
        return self._draw(width) if self.rows is None else self.rows


class Transcript(ScrollView, can_focus=True):
    """Grows at its end, and stays there for who reads its end. The arrows go from run to run; Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("home", "scroll_home", show=False),
        Binding("end", "scroll_end", show=False),
        Binding("enter", "open", show=False),
        Binding("escape,tab,shift+tab", "leave", show=False),
    ]
    FOCUS_ON_CLICK = False  # who marks text or scrolls goes on writing
    DEFAULT_CSS = """
    Transcript { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    """

    class Opened(Message):
        """A run was chosen."""

        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

    class Marked(Message):
        """Text was marked with the mouse, or is so no longer."""

    class Left(Message):
        """The person goes back to the box; a character that they typed goes there too."""

        def __init__(self, typed: str = "") -> None:
            super().__init__()
            self.typed = typed

    def __init__(self) -> None:
        """Makes an empty one."""
        super().__init__(id="transcript")
        self._blocks: list[Block] = []
        self._of_entry: dict[int, int] = {}
        self._starts: list[int] = [0]
        self._width = 0
        self._cursor: int | None = None
        self._is_at_end = True
        self._is_laying = False
        self._span_of: Callable[[int], Span | None] | None = None

    # --- what is shown ----------------------------------------------------------------------------------------------

    @property
    def is_at_end(self) -> bool:
        """Whether its end is in sight, and stays there."""
        return self._is_at_end

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Who scrolls leaves its end, or comes back to it."""
        super().watch_scroll_y(old, new)
        if not self._is_laying:
            self._is_at_end = new >= self.max_scroll_y
            self._settle()

    def take(self, entries: Sequence[Entry], numbers: Iterable[int]) -> None:
        """Shows entries that are new or other than before.

        Args:
            entries: All of them.
            numbers: Which of them are to be drawn.
        """
        first = len(self._blocks)
        for number in numbers:
            entry = entries[number - 1]
            at = self._put(self._of_entry.get(number), Block(partial(entry_rows, entry), size_of(entry), run_of(entry)))
            self._of_entry[number] = at
            first = min(first, at)
        self._lay(first)

    def begin(self, line: str) -> int:
        """Shows a command that is being done; gives its place, for what it says."""
        self._is_at_end = True
        at = self._put(None, _command(line, None))
        self._lay(at)
        return at

    def tell(self, at: int, line: str, reply: Told | Refused) -> None:
        """Shows what a command said, where it was given."""
        self._put(at, _command(line, reply))
        self._lay(at)

    def greet(self, lines: Sequence[str]) -> None:
        """Shows what is to be said before anything else."""
        self._lay(self._put(None, Block(partial(greeting_rows, lines), (sum(map(len, lines)), len(lines)), None)))

    def _put(self, at: int | None, block: Block) -> int:
        """Puts a block at its place, or at the end; gives the place."""
        block.guess(self._width)
        if at is None:
            self._blocks.append(block)
            return len(self._blocks) - 1
        self._blocks[at] = block
        return at

    def _lay(self, first: int) -> None:
        """Finds where the blocks from this one on begin; who was at the end stays there."""
        lengths = (block.height for block in self._blocks[first:])
        self._starts[first:] = list(accumulate(lengths, initial=self._starts[first]))
        self._place(self.scroll_offset.y)
        self._settle()
        self.refresh()

    def _place(self, top: int) -> None:
        """Says how high all of it is, and scrolls to a row, or to the end for who was there."""
        self._is_laying = True
        self.virtual_size = Size(0, self._starts[-1])
        top = self.max_scroll_y if self._is_at_end else top
        self.scroll_to(y=top, animate=False, force=True, immediate=True)
        self._is_laying = False

    def _settle(self) -> None:
        """Breaks into rows what is in sight, as only then its height is known; what was in sight before stays there."""
        while self._blocks and self._width:
            top = self.scroll_offset.y
            seen = range(self._block_at(top), self._block_at(top + self.size.height) + 1)
            new = [at for at in seen if self._blocks[at].rows is None]
            if not new:
                return
            known = next((at for at in seen if self._blocks[at].rows is not None), seen.start)
            before = self._starts[known]
            for at in new:
                self._blocks[at].draw_at(self._width)
            lengths = (block.height for block in self._blocks[new[0] :])
            self._starts[new[0] :] = list(accumulate(lengths, initial=self._starts[new[0]]))
            self._place(top + self._starts[known] - before)

    def on_resize(self, _event: Resize) -> None:
        """Breaks all rows anew; what stood at the top stays there."""
        width = max(_FEWEST_COLUMNS, self.scrollable_content_region.width - 2 * _MARGIN)
        if width == self._width:
            self._lay(len(self._blocks))
            return
        top = self._block_at(self.scroll_offset.y)
        self._width = width
        if self._span_of is not None:  # of other rows than those that are to come
            self.screen.clear_selection()
        for block in self._blocks:
            block.guess(width)
        self._starts = list(accumulate((block.height for block in self._blocks), initial=0))
        self._place(self._starts[max(0, top)])
        self._settle()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        at, width = self.scroll_offset.y + y, self.scrollable_content_region.width - _MARGIN
        if at >= self._starts[-1]:
            return Strip.blank(width, style_of(""))
        place = self._block_at(at)
        rows, line = self._blocks[place].rows, at - self._starts[place]
        if rows is None or line >= len(rows):
            return Strip.blank(width, style_of(""))
        row = rows[line]
        is_chosen = place == self._cursor and self.has_focus and bool(row.text)
        mark = fitted("▌" if is_chosen and not row.mark else row.mark, GUTTER)
        style = f"{row.style} reverse" if is_chosen and row.mark else row.style
        text, number = fitted(row.text, width - _BEFORE_TEXT), _number(place, line)
        span = None if self._span_of is None else self._span_of(number)
        before = (Segment(" " * _MARGIN, style_of("")), Segment(mark, style_of(row.mark_style)))
        return Strip([*before, *segments(text, style, span, before=_BEFORE_TEXT)]).apply_offsets(0, number)

    def _block_at(self, row: int) -> int:
        return max(0, min(bisect_right(self._starts, row) - 1, len(self._blocks) - 1))

    # --- what is marked with the mouse ------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str]:
        """The text that is marked, without the signs at its left."""
        first = 0 if selection.start is None else selection.start.y // _ROWS_OF_A_BLOCK
        last = len(self._blocks) - 1 if selection.end is None else selection.end.y // _ROWS_OF_A_BLOCK
        lines = (
            inside(row.text, span, before=_BEFORE_TEXT)
            for place in range(first, min(last + 1, len(self._blocks)))
            for line, row in enumerate(self._blocks[place].rows_at(self._width))
            if (span := selection.get_span(_number(place, line))) is not None
        )
        return "\n".join(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self._span_of = None if selection is None else selection.get_span
        self.post_message(self.Marked())
        self.refresh()

    @property
    def select_container(self) -> Widget:
        """What a third click would mark: nothing else."""
        return self

    def text_select_all(self) -> None:
        """A double click marks an entry, or opens a run: never all."""

    def _mark(self, place: int) -> None:
        rows = self._blocks[place].rows_at(self._width)
        end = Offset(_BEFORE_TEXT + len(rows[-1].text), _number(place, len(rows) - 1))
        self.screen.selections = {self: Selection(Offset(0, _number(place, 0)), end)}

    # --- what is pressed --------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Takes the keys, with the last run that is in sight under the cursor."""
        self.focus()
        bottom = self._block_at(self.scroll_offset.y + self.size.height - 1)
        places = self._places()
        self._cursor = max((at for at in places if at <= bottom), default=places[0] if places else None)
        self.refresh()

    def on_key(self, event: Key) -> None:
        """Who begins to write goes on in the box."""
        if event.character is not None and event.is_printable:
            event.stop()
            self.post_message(self.Left(event.character))

    def on_click(self, event: Click) -> None:
        """A click puts the cursor on a run, a second one opens it; other entries it marks."""
        at = self._block_at(self.scroll_offset.y + event.y)
        if self._blocks and self._blocks[at].run_id is None and event.chain == 2:
            self._mark(at)
        elif self._blocks and self._blocks[at].run_id is not None:
            self._cursor = at
            self.refresh()
            if event.chain >= 2:
                self.action_open()

    def action_move(self, by: int) -> None:
        """The run before or after; where there is none, a row up or down."""
        places = [at for at in self._places() if self._cursor is None or (at - self._cursor) * by > 0]
        if not places:
            self.scroll_relative(y=by, animate=False)
            return
        self._cursor = places[0] if by > 0 else places[-1]
        start = self._starts[self._cursor]
        if not self.scroll_offset.y <= start < self.scroll_offset.y + self.size.height - 1:
            self.scroll_to(y=start - self.size.height // 2, animate=False)
        self.refresh()

    def action_page(self, by: int) -> None:
        """A screenful up or down."""
        self.scroll_relative(y=by * max(1, self.size.height - 1), animate=False)

    def action_open(self) -> None:
        """Opens the run under the cursor."""
        run_id = None if self._cursor is None else self._blocks[self._cursor].run_id
        if run_id is not None:
            self.post_message(self.Opened(run_id))

    def action_leave(self) -> None:
        """Goes back to the box."""
        self.post_message(self.Left())

    def _places(self) -> list[int]:
        return [at for at, block in enumerate(self._blocks) if block.run_id is not None]


def _number(place: int, line: int) -> int:
    return place * _ROWS_OF_A_BLOCK + line


def _command(line: str, reply: Told | Refused | None) -> Block:
    text = "" if reply is None else reply.text
    return Block(partial(command_rows, line, reply), (len(text), text.count("\n") + 2), None)
