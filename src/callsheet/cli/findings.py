"""What the reader and the checker have to say about a script, shown with its line and a caret."""

from __future__ import annotations

from collections.abc import Iterator
from unicodedata import category, east_asian_width

from callsheet.model.script import Finding
from callsheet.views.safe_text import indented, one_line, visible

_SHOWN_CELLS = 100


def finding_lines(finding: Finding, origin: str) -> Iterator[str]:
    """A finding for people: severity, place, message, and the line with a caret under the column."""
    place = f":{finding.place}" if finding.place is not None else ""
    severity = "error" if finding.severity == "error" else "warning"
    where = "" if finding.place is None and origin in finding.message else f"{one_line(origin)}{place}: "
    yield f"{severity}: {where}{indented(visible(finding.message))}"
    if finding.place is None or finding.source_line is None:
        return
    source, column = _cropped(finding.source_line, finding.place.column)
    margin = f"{finding.place.line:>6} | "
    yield f"{margin}{one_line(source)}"
    if column is not None:
        yield f"{' ' * (len(margin) - 2)}| {' ' * _cells(one_line(source[: column - 1]))}^"


def _cropped(line: str, column: int | None) -> tuple[str, int | None]:
    """The part of a line around the column, and the column in it."""
    line = line.rstrip("\r\n").replace("\t", " ")
    if len(line) <= _SHOWN_CELLS:
        return line, column
    if column is None:
        return f"{line[: _SHOWN_CELLS - 1]}…", None
    start = max(0, min(column - 1 - _SHOWN_CELLS // 2, len(line) - _SHOWN_CELLS))
    part = line[start : start + _SHOWN_CELLS]
    head = "…" if start else ""
    tail = "…" if start + _SHOWN_CELLS < len(line) else ""
    return f"{head}{part}{tail}", column - start + len(head)


def _cells(text: str) -> int:
    """How many cells of a terminal the text takes."""
    return sum(2 if east_asian_width(c) in "WF" else 0 if category(c) in {"Mn", "Me"} else 1 for c in text)
