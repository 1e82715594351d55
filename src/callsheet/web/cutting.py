"""What is too long for a report, cut so that it says it was: pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, overload

from callsheet.views.figures import size
from callsheet.web.bundle import embedded_json

_STEPS = (
    *((chars, 64) for chars in (8_000, 4_000, 2_000, 1_000)),
    *((1_000, last) for last in (32, 16, 8, 4)),  # texts are short by now: fewer of them
    *((chars, 4) for chars in (500, 250, 120, 60)),
)
"""What texts are cut to, and how many of the last messages stay, one step after the other, until a page fits."""
_FIRST = 2
_FILES = 40


@overload
def cut_text(text: str, chars: int) -> str: ...
@overload
def cut_text(text: None, chars: int) -> None: ...
def cut_text(text: str | None, chars: int) -> str | None:
    """The beginning of a text, with what is missing said; None stays None."""
    if text is None or len(text) <= chars:
        return text
    return f"{text[:chars]}… ({len(text) - chars:,} more characters)"


def keep_last(lines: list[Any], limit_bytes: int) -> list[Any]:
    """As many of the last ones as take so many bytes."""
    kept = 0
    for line in reversed(lines):
        limit_bytes -= len(embedded_json(line).encode()) + 1
        if limit_bytes < 0:
            break
        kept += 1
    return lines[len(lines) - kept :]


def fair_share(sizes: Sequence[int], total: int) -> int | None:
    """What each may take so that all take no more than the total; None where nothing needs to be cut.

    Those that need less than their share leave the rest to the others.
    """
    if sum(sizes) <= total:
        return None
    left, many = total, len(sizes)
    for each in sorted(sizes):
        if each * many > left:
            return left // many
        left, many = left - each, many - 1
    return None


def cut_page(
    page: dict[str, Any], limit_bytes: int, *, see: str, whole: int, measure: Callable[[dict[str, Any]], int]
) -> dict[str, Any]:
    """An agent's page in so many bytes: long texts first, then the middle of its conversation.

    Args:
        page: As `agent_page_json` has it.
        limit_bytes: What it may take. What cannot be cut any further may take more.
        see: The command that shows all of it.
        whole: How large it is.
        measure: The bytes of a page.
    """

    def cut(step: tuple[int, int]) -> dict[str, Any]:
        return _shortened(page, *step) | {"cut": {"what": _what(page, *step, whole), "see": see}}

    # each step takes no more than the one before: a few are tried instead of all
    step = bisect_left(_STEPS, True, key=lambda step: measure(cut(step)) <= limit_bytes)
    if step < len(_STEPS):
        return cut(_STEPS[step])
    bare = cut(_STEPS[-1]) | {"messages": [], "tools": [], "files_read": [], "options": None}
    bare["cut"] = {
        "what": f"Of this agent ({size(whole)}) only the beginning of its prompt and answer is here.",
        "see": see,
    }
    return bare


def _shortened(page: dict[str, Any], chars: int, last: int) -> dict[str, Any]:
    result = page["result"]
    if result is not None:
        text = result if isinstance(result, str) else embedded_json(result)
        result = result if len(text) <= 2 * chars else cut_text(text, 2 * chars)
    options = page["options"]
    return page | {
        "prompt": cut_text(page["prompt"], 2 * chars),
        "result": result,
        "options": options if len(embedded_json(options)) <= 2 * chars else None,
        "files_read": page["files_read"][:_FILES],
        "files_changed": page["files_changed"][:_FILES],
        "messages": [
            message | {"parts": [part | {"text": cut_text(part.get("text", ""), chars)} for part in message["parts"]]}
            for message in _ends(page["messages"], last)
        ],
        "tools": [
            tool | {"input": cut_text(tool["input"], chars), "detail": cut_text(tool["detail"], chars)}
            for tool in _ends(page["tools"], last)
        ],
    }


def _ends(every: list[Any], last: int) -> list[Any]:
    return every if len(every) <= _FIRST + last else [*every[:_FIRST], *every[-last:]]


def _what(page: dict[str, Any], chars: int, last: int, whole: int) -> str:
    messages = len(page["messages"])
    dropped = messages - len(_ends(page["messages"], last))
    cut = f"{dropped:,} of its {messages:,} messages are left out, and texts" if dropped else "texts"
    return f"This agent's page is long ({size(whole)}) and was cut: {cut} end after {chars:,} characters."
