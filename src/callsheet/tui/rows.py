"""A list of any length, of which only what is seen is drawn: by keys, by mouse, its cursor on a row's key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, TypeAlias

from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from callsheet.tui.cells import Cell, strip_of, style_of

Draw: TypeAlias = Callable[[str, int], Sequence[Cell]]
"""The cells of the row with a key, in a list of so many columns."""


class Rows(ScrollView, can_focus=True):
    """Rows by key. What they show is asked for when they are drawn.

    The row under the cursor stays the same when rows come before it; where it goes, its neighbour takes its place.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("enter,right,l", "choose", "Open", show=False),
    ]
    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Rows { overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, rows: Rows, key: str | None) -> None:
            super().__init__()
            self.rows, self.key = rows, key

        @property
        def control(self) -> Rows:
            """Whose cursor."""
            return self.rows

    class Chosen(Message):
        """A row was opened."""

        def __init__(self, rows: Rows, key: str) -> None:
            super().__init__()
            self.rows, self.key = rows, key

        @property
        def control(self) -> Rows:
            """Whose row."""
            return self.rows

    def __init__(
        self,
        draw: Draw,
        *,
        head: Callable[[int], Sequence[Cell]] | None = None,
        empty: str = "",
        is_menu: bool = False,
        id: str | None = None,
    ) -> None:
        """Makes an empty list.

        Args:
            draw: The cells of a row, made safe.
            head: The cells of the row above all, which stays.
            empty: What is said where there is no row.
            is_menu: One click opens a row.
            id: For styles and tests.
        """
        super().__init__(id=id)
        self._draw = draw
        self._head = head
        self.empty = empty
        self._is_menu = is_menu
        self._keys: tuple[str, ...] = ()
        self._at: dict[str, int] = {}
        self._cursor = 0

    # --- what is shown ----------------------------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the rows, in order."""
        return self._keys

    @property
    def key(self) -> str | None:
        """The key of the row under the cursor; None where there is no row."""
        return self._keys[self._cursor] if self._keys else None

    def show(self, keys: Sequence[str]) -> None:
        """Shows these rows from now on."""
        new = tuple(keys)
        if new == self._keys:
            return
        before = self.key
        self._keys = new
        self._at = {key: at for at, key in enumerate(new)}
        at = self._at.get(before, self._cursor) if before is not None else 0
        self._cursor = max(0, min(at, len(new) - 1))
        self.virtual_size = Size(0, len(new) + self._head_rows)
        self._keep_in_sight()
        self.refresh()
        if self.key != before:
            self.post_message(self.Moved(self, self.key))

    def redraw(self, keys: Iterable[str] | None = None) -> None:
        """Draws rows again that are seen: those of these keys, or all."""
        if keys is None:
            self.refresh()
            return
        first, height = self.scroll_offset.y, self._page
        for key in keys:
            at = self._at.get(key)
            if at is not None and first <= at < first + height:
                self._redraw_row(at)

    def put_cursor(self, key: str) -> None:
        """Puts the cursor on a row, if it is there."""
        if key in self._at:
            self._go(self._at[key])

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if self._head is not None:
            if y == 0:
                return strip_of(self._head(width), width, over="bold underline")
            y -= 1
        at = self.scroll_offset.y + y
        if not self._keys and at == 0 and self.empty:
            return strip_of([Cell(self.empty, style="dim italic")], width)
        if at >= len(self._keys):
            return Strip.blank(width, style_of(""))
        over = ""
        if at == self._cursor:
            over = "reverse" if self.has_focus else "bold"
        return strip_of(self._draw(self._keys[at], width), width, over=over)

    @property
    def _head_rows(self) -> int:
        return 0 if self._head is None else 1

    @property
    def _page(self) -> int:
        return max(1, self.size.height - self._head_rows)

    def _redraw_row(self, at: int) -> None:
        y = at - self.scroll_offset.y + self._head_rows
        self.refresh(Region(0, y, self.size.width, 1))

    def _keep_in_sight(self) -> None:
        top, page = self.scroll_offset.y, self._page
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False)
        elif self._cursor >= top + page:
            self.scroll_to(y=self._cursor - page + 1, animate=False)

    # --- what is pressed --------------------------------------------------------------------------------------------

    def on_focus(self) -> None:
        """The cursor is drawn otherwise where keys go."""
        self.refresh()

    def on_blur(self) -> None:
        """As `on_focus`."""
        self.refresh()

    def on_resize(self, _event: Resize) -> None:
        """The cursor stays in sight."""
        self._keep_in_sight()

    def action_move(self, by: int) -> None:
        """Moves the cursor by rows."""
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Moves the cursor by screenfuls."""
        self._go(self._cursor + by * self._page)

    def action_edge(self, to: int) -> None:
        """Moves the cursor to the first or last row."""
        self._go(0 if to < 0 else len(self._keys) - 1)

    def action_choose(self) -> None:
        """Opens the row under the cursor."""
        if self.key is not None:
            self.post_message(self.Chosen(self, self.key))

    def on_click(self, event: Click) -> None:
        """Puts the cursor on the row; a second click opens it."""
        at = self.scroll_offset.y + event.y - self._head_rows
        if not 0 <= at < len(self._keys) or event.y < self._head_rows:
            return
        self._go(at)
        if event.chain >= 2 or self._is_menu:
            self.action_choose()

    def _go(self, at: int) -> None:
        at = max(0, min(at, len(self._keys) - 1))
        if at == self._cursor or not self._keys:
            return
        before, self._cursor = self._cursor, at
        self._redraw_row(before)
        self._redraw_row(at)
        self._keep_in_sight()
        self.post_message(self.Moved(self, self.key))
