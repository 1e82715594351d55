"""One row of a list: cells of text, each cut or padded to its width, as a strip that Textual draws.

Text becomes segments as it stands: no markup is read in it. Whoever makes a cell has passed its text through
`views.safe_text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from callsheet.model.dataclass import dataclass

_GAP = 1
_REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a row.

    Attributes:
        text: One line, made safe.
        width: Columns it takes; 0 for what the others leave.
        style: As rich names it, of the sixteen colours that every terminal has.
        is_right: It stands to the right of its room.
    """

    text: str
    width: int = 0
    style: str = ""
    is_right: bool = False


@lru_cache(maxsize=256)
def style_of(name: str) -> Style:
    """A style by its name."""
    return Style.parse(name)


def fitted(text: str, width: int, *, is_right: bool = False) -> str:
    """The text in exactly so many columns, cut with `…` where it is longer."""
    if width <= 0:
        return ""
    taken = len(text) if text.isascii() else cell_len(text)
    if taken > width:
        return set_cell_size(text, width - 1) + "…"
    room = " " * (width - taken)
    return room + text if is_right else text + room


def strip_of(cells: Sequence[Cell], width: int, *, over: str = "") -> Strip:
    """The cells side by side, a column between them.

    Args:
        cells: Of them at most one or two have no width of their own and share what is left.
        width: Of the row.
        over: A style for the whole of it; `reverse` leaves no other, which would tear the row into patches.
    """
    gaps = _GAP * (len(cells) - 1)
    free = [index for index, cell in enumerate(cells) if cell.width == 0]
    left = max(0, width - gaps - sum(cell.width for cell in cells))
    share = left // len(free) if free else 0
    segments: list[Segment] = []
    for index, cell in enumerate(cells):
        room = cell.width or share + (left - share * len(free) if index == free[0] else 0)
        style = style_of(over if over == _REVERSE else f"{cell.style} {over}".strip())
        segments.append(Segment(fitted(cell.text, room, is_right=cell.is_right), style))
        if index < len(cells) - 1:
            segments.append(Segment(" " * _GAP, style_of(over)))
    return Strip(segments).adjust_cell_length(width, style_of(over))
