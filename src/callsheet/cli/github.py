"""What a GitHub runner obeys: lines on standard error that put words beside a line of a pull request.

A message may hold anything that a script or an agent wrote: it is made visible and escaped, and stays one command.
"""

from __future__ import annotations

from typing import Literal

from callsheet.views.safe_text import defused, one_line, visible

Level = Literal["error", "warning", "notice"]

SHOWN_AT_MOST = 10
"""Annotations of one level that GitHub shows of one step; it drops the rest without a word."""

_MESSAGE_CHARS = 2_000
_TITLE_CHARS = 120


def annotation(
    level: Level,
    message: str,
    *,
    title: str,
    file: str | None = None,
    line: int | None = None,
    column: int | None = None,
) -> str:
    """A workflow command that shows a message, at its line where it has one.

    Args:
        level: How GitHub marks it.
        message: What it says; may have line ends.
        title: Its first line, short.
        file: The path in the repository; without one it stands on the run's page alone.
        line: From 1.
        column: From 1.
    """
    properties = []
    if file is not None:
        properties.append(f"file={_property(file)}")
        if line is not None:
            properties.append(f"line={line}")
            if column is not None:
                properties.append(f"col={column}")
    properties.append(f"title={_property(one_line(title, _TITLE_CHARS))}")
    if len(message) > _MESSAGE_CHARS:
        message = message[: _MESSAGE_CHARS - 1] + "…"
    return f"::{level} {','.join(properties)}::{_data(visible(message))}"


def folded(lines: list[str], *, level: Level, noun: str) -> list[str]:
    """So many annotations of a level as GitHub shows; the last one says how many were left out."""
    if len(lines) <= SHOWN_AT_MOST:
        return lines
    more = len(lines) - SHOWN_AT_MOST + 1
    words = f"{more:,} more {noun}s are in the summary of this step and in its log."
    return [*lines[: SHOWN_AT_MOST - 1], annotation(level, words, title=f"{more:,} more {noun}s")]


def _data(text: str) -> str:
    return defused(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")
