"""An agent's conversation for people: who said what, tools as one line each, everything made safe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from callsheet.views.safe_text import one_line, visible

_CUT = "… (--full shows all of it)"


def block_lines(text: str, *, limit: int, indent: str = "  ") -> Iterator[str]:
    """A text over several lines, each moved in, cut where it is longer than `limit`; 0 for no limit."""
    is_cut = bool(limit) and len(text) > limit
    for line in visible(text[:limit] if is_cut else text).split("\n"):
        yield f"{indent}{line}".rstrip()
    if is_cut:
        yield f"{indent}{_CUT}"


def compact(value: Any, limit: int) -> str:
    """A JSON value in one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, limit)


def message_lines(message: Any, *, limit: int) -> Iterator[str]:
    """What one message says.

    Args:
        message: As recorded: role and content of the Messages API.
        limit: Characters of each part; 0 for all.
    """
    content = message.get("content") if isinstance(message, dict) else message
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        yield from _part_lines(part if isinstance(part, dict) else {"type": "text", "text": part}, limit)


def _part_lines(part: dict[str, Any], limit: int) -> Iterator[str]:
    match part.get("type"):
        case "text":
            yield from block_lines(_text(part.get("text")), limit=limit, indent="    ")
        case "thinking":
            yield f"    (thinking) {one_line(_text(part.get('thinking')), limit)}"
        case "tool_use":
            yield f"    → {one_line(_text(part.get('name')))} {compact(part.get('input'), limit)}"
        case "tool_result":
            inner = part.get("content")
            said = (
                "\n".join(_text(each.get("text")) for each in inner if isinstance(each, dict))
                if isinstance(inner, list)
                else _text(inner)
            )
            yield "    ← failed:" if part.get("is_error") else "    ←"
            yield from block_lines(said, limit=limit, indent="      ")
        case other:
            yield f"    [{one_line(_text(other) or '?', 40)}] {compact(part, limit)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
