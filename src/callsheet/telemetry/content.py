"""What is said between agents and models, in the words of the GenAI conventions; for those alone who ask for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from callsheet.model.opening import without_words
from callsheet.model.values import JsonValue

MAX_TEXT_CHARS = 8_000
MAX_PARTS = 40
"""Of one message; what comes after is left out. A span is to stay small enough for any collector."""

Redact = Callable[[str], str]


def clean(text: str) -> str:
    """The text as UTF-8 can hold it: one that it cannot would cost a whole batch of spans."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def cut(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """At most so much of a text."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def messages_json(payloads: Sequence[JsonValue], redact: Redact) -> str:
    """Messages as they were reported (`MessageAdded.payload`), as `gen_ai.input.messages` or `.output.messages`."""
    found = [_message(payload, redact) for payload in payloads if isinstance(payload, dict)]
    return clean(json.dumps(found, ensure_ascii=False))


def text_json(role: str, text: str, redact: Redact) -> str:
    """A single text as such a list of messages."""
    return messages_json([{"role": role, "content": text}], redact)


def arguments_json(value: JsonValue, redact: Redact) -> str:
    """What a tool was given, as JSON text; where that is too long its beginning, and so no JSON any more."""
    return cut(_said(json.dumps(value, ensure_ascii=False, default=str), redact))


def _message(payload: dict[str, Any], redact: Redact) -> dict[str, Any]:
    content = payload.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = [_part(block, redact) for block in (blocks or [])[:MAX_PARTS] if isinstance(block, dict)]
    results = parts and all(part["type"] == "tool_call_response" for part in parts)
    message: dict[str, Any] = {"role": "tool" if results else str(payload.get("role", "")), "parts": parts}
    if payload.get("role") == "assistant":
        message["finish_reason"] = str(payload.get("stop_reason") or "stop")
    return message


def _part(block: dict[str, Any], redact: Redact) -> dict[str, Any]:
    match block.get("type"):
        case "text":
            return {"type": "text", "content": cut(_said(block.get("text"), redact))}
        case "thinking":
            return {"type": "reasoning", "content": cut(_said(block.get("thinking"), redact))}
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            arguments = arguments_json(block.get("input"), redact)
            return {"type": "tool_call", "id": block.get("id"), "name": block.get("name"), "arguments": arguments}
        case "tool_result":
            response = cut(_result(block.get("content"), redact))
            return {"type": "tool_call_response", "id": block.get("tool_use_id"), "response": response}
        case other:
            return {"type": _said(other, redact)}


def _result(content: object, redact: Redact) -> str:
    if not isinstance(content, list):
        return _said(content, redact)
    texts = (block.get("text") for block in content if isinstance(block, dict) and block.get("type") == "text")
    return "\n".join(_said(text, redact) for text in texts)


def _said(text: object, redact: Redact) -> str:
    return redact(clean(without_words(text))) if isinstance(text, str) else ""
