"""A few rows of cells, as high as they are many."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip
from textual.widget import Widget

from callsheet.tui.cells import Cell, strip_of, style_of


class Strips(Widget):
    """Shows what it is given."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Strips { height: auto; padding: 0 1; }"

    def __init__(self, *, id: str) -> None:
        """Makes an empty one, of no height."""
        super().__init__(id=id)
        self._rows: list[Sequence[Cell]] = []

    def show(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Shows these rows from now on."""
        new = list(rows)
        if new == self._rows:
            return
        is_as_high = len(new) == len(self._rows)
        self._rows = new
        self.refresh(layout=not is_as_high)

    def get_content_height(self, *_sizes: object) -> int:
        return len(self._rows)

    def render_line(self, y: int) -> Strip:
        if y >= len(self._rows):
            return Strip.blank(self.size.width, style_of(""))
        return strip_of(self._rows[y], self.size.width)
