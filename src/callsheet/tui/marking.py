"""Text that a person marks with the mouse, in lists of rows that draw themselves. Pure.

Textual's offsets count characters from the left edge of what a widget draws; what stands there before the text of a
row is none of it. That edge is drawn by the widget, and is no padding: Textual misplaces clicks there.
"""

from __future__ import annotations

from rich.segment import Segment

from callsheet.tui.cells import style_of

Span = tuple[int, int]
"""Where the marked part of a row begins and ends, as Textual says it: an end of -1 is the row's."""


def inside(text: str, span: Span, *, before: int) -> str:
    """The part of a row's text that is marked.

    Args:
        text: Of the row.
        span: What is marked.
        before: Columns that stand before it.
    """
    begin, end = _within(len(text), span, before)
    return text[begin:end]


def segments(text: str, style: str, span: Span | None, *, before: int) -> list[Segment]:
    """A row's text, with what is marked of it standing out; as `inside`, `span` None for nothing."""
    begin, end = (0, 0) if span is None else _within(len(text), span, before)
    parts = ((text[:begin], style), (text[begin:end], "reverse"), (text[end:], style))
    return [Segment(part, style_of(named)) for part, named in parts if part]


def _within(length: int, span: Span, before: int) -> Span:
    begin, end = span
    return max(0, begin - before), length if end < 0 else max(0, end - before)
