"""From the engine's positions to those that people count: lines as editors have them, columns in characters."""

from __future__ import annotations

import re

_ENDS = re.compile(rb"\r\n|[\r\n]|\xe2\x80[\xa8\xa9]")
_UNUSUAL_ENDS = re.compile(rb"\r(?!\n)|\xe2\x80[\xa8\xa9]")


class Source:
    """A script's body as UTF-8.

    The engine ends a line at everything ECMAScript calls a line terminator and counts columns in bytes; editors, and
    the rest of Callsheet, end it at a newline and count characters.
    """

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._has_usual_lines = _UNUSUAL_ENDS.search(text) is None
        self._starts: list[int] | None = None

    def line(self, line: int) -> int:
        """The line of an engine's line."""
        return line if self._has_usual_lines else self.place(line, 1)[0]

    def place(self, line: int, column: int) -> tuple[int, int]:
        """Line and column of an engine's line and column; beyond the end, the place after the last character."""
        return self.place_at(self.offset(line, column))

    def offset(self, line: int, column: int) -> int:
        """Where in the text an engine's line and column are, in bytes; at most its length."""
        if self._starts is None:
            self._starts = [0, *(end.end() for end in _ENDS.finditer(self.text))]
        if line > len(self._starts):
            return len(self.text)
        return min(self._starts[max(line, 1) - 1] + max(column, 1) - 1, len(self.text))

    def place_at(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a byte."""
        before = self.text[:offset]
        start = before.rfind(b"\n") + 1
        return before.count(b"\n") + 1, len(before[start:].decode("utf-8", "ignore")) + 1
