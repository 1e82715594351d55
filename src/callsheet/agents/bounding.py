"""How long a prompt is at most, and what a request with it costs at worst: for what is set aside before it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

MESSAGE_TOKENS = 50
"""What the service adds to each block of a message."""

IMAGE_TOKENS = 5_000
"""The most that a model takes of an image."""

_MILLION = 1_000_000


class Price(Protocol):
    """What tokens of a model cost in USD; None where the price is not known."""

    def __call__(
        self,
        model: str,
        /,
        *,
        input_tokens: int,
        output_tokens: int,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> float | None: ...


def worst_usd(price: Price, model: str, prompt_tokens: int) -> tuple[float, float] | None:
    """The dearest that a prompt of this length can be, and each token of the reply to it; None without a price.

    A prompt is read anew, written to the cache, or read from it: by prices of one's own each may be the dearest.
    """
    fresh = price(model, input_tokens=prompt_tokens, output_tokens=0)
    written = price(model, input_tokens=0, output_tokens=0, cache_write_tokens=prompt_tokens)
    read = price(model, input_tokens=0, output_tokens=0, cache_read_tokens=prompt_tokens)
    with_reply = price(model, input_tokens=prompt_tokens, output_tokens=_MILLION)
    if fresh is None or written is None or read is None or with_reply is None:
        return None
    return max(fresh, written, read), (with_reply - fresh) / _MILLION


def bound_tokens(content: Iterable[Any]) -> int:
    """How many tokens blocks of a message have at most: no token is shorter than a byte."""
    return sum(MESSAGE_TOKENS + _block_tokens(block) for block in content)


def _block_tokens(block: Any) -> int:
    match block:
        case {"type": "image"}:
            return IMAGE_TOKENS
        case {"type": "text", "text": str(text)} | {"type": "tool_result", "content": str(text)}:
            return utf8_bytes(text)
        case {"type": "tool_result", "content": list(inner)}:
            return bound_tokens(inner)
        case _:
            return len(json.dumps(block, default=str))


def utf8_bytes(text: str) -> int:
    """How long a text is in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
