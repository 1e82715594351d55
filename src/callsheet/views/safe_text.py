"""Text from scripts, agents and files, shown as text: nothing in it moves a cursor, hides, reorders or commands.

Everything that a surface prints and did not write itself goes through here first. What cannot be seen, or would act, is
replaced by something that can be seen: `␛` for an escape, `⟨U+202E⟩` for a bidi override.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_CONTROL_PICTURES = 0x2400
_DELETE = 0x7F
_DELETE_PICTURE = "␡"

_INVISIBLE = (
    "\u007f-\u009f"  # delete and the C1 controls, which some terminals take for escape sequences
    "\u00ad\u034f\u061c\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f"  # zero width, and the marks of direction
    "\u2028-\u202e"  # line and paragraph separators, bidi embeddings and overrides
    "\u2060-\u206f"  # joiners, invisible operators, bidi isolates
    "\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff"  # half of a character: cannot be encoded
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # tags and variation selectors that can carry hidden text
)
_SELECTORS = "\ufe00-\ufe0f"
"""Variation selectors: one after a visible character is ordinary (an emoji has one); any other carries something."""

_MULTILINE = re.compile(f"[\x00-\x08\x0b-\x1f{_INVISIBLE}]|(?:^|(?<=[\\s{_SELECTORS}]))[{_SELECTORS}]")
_ONE_LINE = re.compile(f"[\x00-\x1f{_INVISIBLE}]|(?:^|(?<=[\\s{_SELECTORS}]))[{_SELECTORS}]")

_RUNNER_COMMAND = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
"""A line that a GitHub runner obeys: `::`, after any white space (actions/runner, `ActionCommand.TryParseV2`)."""


def _picture(match: re.Match[str]) -> str:
    point = ord(match.group())
    if point < 0x20:
        return chr(_CONTROL_PICTURES + point)
    if point == _DELETE:
        return _DELETE_PICTURE
    return f"⟨U+{point:04X}⟩"


def visible(text: str) -> str:
    """The text with every control, invisible and direction-changing character made visible; line ends and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return _MULTILINE.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 0) -> str:
    """As `visible`, for where one line is right: line ends become `␊`, tabs `␉`.

    Args:
        text: What to show.
        limit: Characters at most, the last one then `…`; 0 for no limit. Cut before anything is replaced, so that a
            long text costs nothing.
    """
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return _ONE_LINE.sub(_picture, text.replace("\r\n", "\n"))


def indented(text: str) -> str:
    """The text, every line after its first moved in, so that none of them looks like a line of ours."""
    return text.replace("\n", "\n    ")


def under_github(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a GitHub runner reads what is printed, and would obey commands in it."""
    return (os.environ if environ is None else environ).get("GITHUB_ACTIONS", "") not in {"", "false", "0"}


def defused(text: str) -> str:
    """The text with what a GitHub runner would obey broken by a space, visibly.

    A runner obeys `::command::` at the start of a line and `##[command]` anywhere in one.
    """
    return _RUNNER_COMMAND.sub(r"\1: ", text).replace("##[", "# #[")


def defused_json(text: str) -> str:
    """JSON text of the same value without `##[`; a line of JSON never begins with `::`."""
    return text.replace("##[", "#\\u0023[")
