"""A conversation as it was recorded, made ready to go on (CONTRACT R01)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from anthropic.types.beta import BetaMessageParam

from callsheet.agents.prompt import MAY_HAVE_HAPPENED, NOT_DONE, RESULT_LOST
from callsheet.model.call import KeptConversation
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

_ENDED = "model_context_window_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A conversation that goes on.

    Attributes:
        messages: What a request sends, up to where it was cut off.
        cut_off: Results in place of those that are not known; none where all are.
        replies: How often the model had answered.
        known_tokens: How long it was with its last reply, as the service counted it; None where that is not on record,
            or a summary came in place of it.
        new: What came after that reply; the whole of it where its length is not known.
    """

    messages: list[BetaMessageParam]
    cut_off: list[dict[str, Any]]
    replies: int
    known_tokens: int | None = None
    new: tuple[BetaMessageParam, ...] = ()


def restored(kept: KeptConversation) -> Restored:
    """The conversation as the model knew it when its process ended.

    A reply without calls that came last is left out, and asked for again: what was to follow from it is not known.
    """
    messages: list[BetaMessageParam] = []
    replies = counted = 0
    known_tokens: int | None = None
    for payload in kept.messages:
        if not isinstance(payload, dict):
            continue
        content = payload.get("content")
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        if payload.get("role") == "user":
            messages.append(_message("user", blocks))
            continue
        replies += 1
        if any(block.get("type") == "compaction" for block in blocks):
            messages, known_tokens, counted = [_message("assistant", blocks)], None, 0
            continue
        if payload.get("stop_reason") != _ENDED:
            if payload.get("stop_reason") == "max_tokens":  # of a reply that was cut off only its text is kept
                blocks = [block for block in blocks if block.get("type") == "text" and str(block.get("text")).strip()]
            if blocks:
                messages.append(_message("assistant", blocks))
        if (length := _length_tokens(payload)) is not None:
            known_tokens, counted = length, len(messages)
    if messages and messages[-1]["role"] == "assistant":
        if calls := _calls(messages[-1]):
            left = list(kept.tool_calls)
            for message in messages[:-1]:
                for call in _calls(message):
                    _take(left, call)
            cut_off = [_result(call, _take(left, call)) for call in calls]
            new = tuple(messages[counted:])
            return Restored(messages=messages, cut_off=cut_off, replies=replies, known_tokens=known_tokens, new=new)
        messages.pop()
    return Restored(
        messages=messages,
        cut_off=[],
        replies=replies if messages else 0,
        known_tokens=known_tokens,
        new=tuple(messages[counted:]),
    )


def _length_tokens(payload: Mapping[str, JsonValue]) -> int | None:
    """How long the conversation was with a reply, by the service's count; None where it is not on record."""
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        return None
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    counts = [count for name in names if isinstance(count := usage.get(name), int)]
    return sum(counts) if counts else None


def _message(role: str, blocks: Sequence[Mapping[str, JsonValue]]) -> BetaMessageParam:
    return cast(BetaMessageParam, {"role": role, "content": [dict(block) for block in blocks]})


def _calls(message: BetaMessageParam) -> list[dict[str, Any]]:
    return [block for block in cast(Any, message["content"]) if block.get("type") == "tool_use"]


def _result(call: Mapping[str, Any], state: str | None) -> dict[str, Any]:
    """What is said to a call whose result was lost: that it was done, perhaps was, or was not."""
    text = {"intent": MAY_HAVE_HAPPENED, None: NOT_DONE}.get(state, RESULT_LOST)
    return {"type": "tool_result", "tool_use_id": call.get("id"), "content": text, "is_error": True}


def _take(recorded: list[tuple[str, str, str]], call: Mapping[str, Any]) -> str | None:
    """How a call stands on record, which is then taken out; None where it is not, since it never began.

    Secrets in an input were replaced, so that of calls of one tool that were cut off one may be taken for another: it
    is then said of it that it may have happened.
    """
    text = json.dumps(call.get("input"), ensure_ascii=False, separators=(",", ":"))
    same = [one for one in recorded if one[:2] == (call.get("name"), text)]
    alike = same or [one for one in recorded if (one[0], one[2]) == (call.get("name"), "intent")]
    if not alike:
        return None
    recorded.remove(alike[0])
    return alike[0][2]
