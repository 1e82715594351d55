"""Text in rows of so many columns, broken between words, made safe. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len, chop_cells

from callsheet.views.safe_text import visible

_TAB = 4
_FEWEST = 4
"""Columns of a row: the widest character has two, and there is room to move it in."""
_INDENT = re.compile(r" *(?:(?:[-*+•>]|\d{1,3}[.)]) +)*")
"""What stands before a line's first word: the rows that go on with the line stand below that word."""
_COLUMN = re.compile(r" *\S.*?  +(?=\S)")
"""What stands before the second column of a table."""
_MOST_INDENT = 3
"""A line is moved in by no more than the third part of a row."""
_WORD = re.compile(r"\S+\s*")


def wrapped(text: str, width: int, *, is_table: bool = False) -> list[str]:
    """The text in rows of at most so many columns, or four.

    Args:
        text: As it came.
        width: Columns.
        is_table: Two spaces or more part columns: what goes on in a further row stands below its column.
    """
    lead, width = _COLUMN if is_table else _INDENT, max(_FEWEST, width)
    return [row for line in visible(text).expandtabs(_TAB).split("\n") for row in _broken(line, width, lead)]


def _broken(line: str, width: int, lead: re.Pattern[str]) -> list[str]:
    if _cells(line) <= width:
        return [line.rstrip()]
    found = lead.match(line)
    indent = " " * min(_cells(found.group()) if found is not None else 0, width // _MOST_INDENT)
    return list(_rows(line, width, indent))


def _rows(line: str, width: int, indent: str) -> Iterator[str]:
    row, taken, is_new = "", 0, True
    lead = line[: len(line) - len(line.lstrip(" "))]
    if len(lead) < width:
        row, taken = lead, len(lead)
    for word in _WORD.findall(line):
        bare = word.rstrip()
        cells = _cells(bare)
        if taken + cells > width and not is_new:
            yield row.rstrip()
            row, taken, is_new = indent, len(indent), True
        while taken + cells > width:  # longer than a row
            piece = chop_cells(bare, width - taken)[0] if width - taken > 1 else ""
            yield row + piece
            bare, word = bare[len(piece) :], word[len(piece) :]
            row, taken, cells = indent, len(indent), _cells(bare)
        row, taken, is_new = row + word, taken + _cells(word), is_new and not bare
    if row.strip():
        yield row.rstrip()


def _cells(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
