"""Text and JSON as they leave the engine: always encodable, always bounded."""

from __future__ import annotations

import json

from callsheet.model.values import JsonValue

_UNICODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ASCII = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def clean(text: str) -> str:
    """The text without lone surrogates, which no file and no terminal can hold; they become U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def to_json(value: object) -> str:
    """Compact JSON text that UTF-8 can hold.

    Raises:
        ValueError: The value is not JSON: it holds NaN or an infinity, or contains itself.
        TypeError: The value is not JSON: it holds an object of another kind.
        RecursionError: It is nested too deeply.
    """
    text = _UNICODE.encode(value)
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _ASCII.encode(value)
    return text


def cut(text: str, chars: int) -> str:
    """The text, or its beginning and an ellipsis, in at most `chars` characters."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def cut_bytes(text: str, limit_bytes: int) -> str:
    """The text, or as much of its beginning as fits into so many bytes of UTF-8 with an ellipsis."""
    if len(text) * 4 <= limit_bytes:
        return text
    raw = text.encode("utf-8")
    if len(raw) <= limit_bytes:
        return text
    return raw[: limit_bytes - 3].decode("utf-8", "ignore") + "…"


def kind_of(value: JsonValue) -> str:
    """What sort of JSON value it is, for a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"


def shown(value: JsonValue) -> str:
    """A value for a message: short ones as they are, others by their kind."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str) and len(value) <= 60:
        return f"'{value}'"
    return kind_of(value)


def error_text(name: str, message: str) -> str:
    """An error as a script's author knows it: `TypeError: …`; a thrown non-Error has no name."""
    return f"{name}: {message}" if name and message else name or message
