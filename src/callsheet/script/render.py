"""A finding as text for people and as JSON for programs (CONTRACT S06, C01)."""

from __future__ import annotations

from unicodedata import category, east_asian_width

from callsheet.model.script import Finding
from callsheet.model.values import JsonValue

SHOWN_CHARACTERS = 120
"""How much of a long line is shown around the column."""

_TAB = "    "


def render_finding(finding: Finding, *, origin: str) -> str:
    """`origin:line:column: severity: message`, the line, and a caret under the column.

    Tabs become four spaces, wide characters count double, and what cannot be seen or would act on a terminal is made
    visible. No line end at the end.

    Args:
        finding: What to show.
        origin: The path or name of the script.
    """
    place = f":{finding.place}" if finding.place else ""
    lines = [f"{_visible(origin)}{place}: {finding.severity}: {_visible(finding.message)}"]
    if finding.source_line is not None:
        column = finding.place.column if finding.place else None
        before, after = _cropped(finding.source_line, column)
        lines.append(f"  {before}{after}")
        if column is not None:
            lines.append(f"  {' ' * _cells(before)}^")
    return "\n".join(lines)


def finding_json(finding: Finding) -> dict[str, JsonValue]:
    """A finding for programs: `severity`, `code`, `contract`, `message`, `line`, `column`, `source_line`."""
    return {
        "severity": finding.severity,
        "code": finding.code,
        "contract": finding.contract,
        "message": finding.message,
        "line": finding.place.line if finding.place else None,
        "column": finding.place.column if finding.place else None,
        "source_line": finding.source_line,
    }


def _cropped(line: str, column: int | None) -> tuple[str, str]:
    """What is shown of a line: what stands before the column, and the rest."""
    at = min((column or 1) - 1, len(line))
    start = max(0, min(at - SHOWN_CHARACTERS // 2, len(line) - SHOWN_CHARACTERS))
    end = start + SHOWN_CHARACTERS
    before = ("…" if start else "") + _visible(line[start:at])
    return before, _visible(line[at:end]) + ("…" if end < len(line) else "")


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\t":
        return _TAB
    return f"⟨U+{ord(character):04X}⟩" if category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else character


def _cells(text: str) -> int:
    """How many cells of a terminal the text takes."""
    return sum(2 if east_asian_width(c) in "WF" else 0 if category(c) in {"Mn", "Me"} else 1 for c in text)
