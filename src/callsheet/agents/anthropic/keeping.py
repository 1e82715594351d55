"""A conversation as it was recorded, made ready to go on (CONTRACT R01)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from anthropic.types.beta import BetaMessageParam

from callsheet.agents.prompt import MAY_HAVE_HAPPENED, NOT_DONE, RESULT_LOST, RESUMED
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


class Thread:
    """Messages as they are read from reports, in order.

    Attributes:
        messages: What a request sends.
        replies: How often the model has answered.
        summaries: How often a summary came in place of all before.
        known_tokens: How long all was with its last reply, as the service counted it; None where that is not known.
        counted: How many of the messages that count holds.
        is_exact: The count is one of requests that begin as those to come will.
    """

    def __init__(self) -> None:
        self.messages: list[BetaMessageParam] = []
        self.replies = self.summaries = 0
        self.known_tokens: int | None = None
        self.counted = 0
        self.is_exact = True

    @property
    def has_summary(self) -> bool:
        """Whether a summary stands in place of what was said."""
        return any(block.get("type") == "compaction" for message in self.messages for block in _blocks(message))

    @property
    def has_open_calls(self) -> bool:
        """Whether the last message asks for tools whose results are not there."""
        return bool(self.messages) and self.messages[-1]["role"] == "assistant" and bool(_calls(self.messages[-1]))

    @property
    def new(self) -> tuple[BetaMessageParam, ...]:
        """What came after the last count."""
        return tuple(self.messages[self.counted :])

    def read(self, payloads: Sequence[JsonValue]) -> None:
        """Adds messages as they were reported (`MessageAdded.payload`)."""
        for payload in payloads:
            if not isinstance(payload, dict):
                continue
            content = payload.get("content")
            blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
            match payload.get("role"):
                case "user":
                    if _is_resumed(blocks):
                        self.drop_last_words()
                    self.messages.append(_message("user", blocks))
                case "system":
                    self.messages.append(_message("system", blocks))
                case _:
                    self._read_reply(payload, blocks)

    def _read_reply(self, payload: Mapping[str, JsonValue], blocks: list[dict[str, JsonValue]]) -> None:
        self.replies += 1
        if any(block.get("type") == "compaction" for block in blocks):
            self.messages, self.known_tokens, self.counted = [_message("assistant", blocks)], None, 0
            self.summaries += 1
            return
        if payload.get("stop_reason") != _ENDED:
            if payload.get("stop_reason") == "max_tokens":  # of a reply that was cut off only its text is kept
                blocks = [block for block in blocks if block.get("type") == "text" and str(block.get("text")).strip()]
            if blocks:
                self.messages.append(_message("assistant", blocks))
        if (length := _length_tokens(payload)) is not None:
            self.known_tokens, self.counted = length, len(self.messages)

    def drop_last_words(self) -> None:
        """Takes back a reply without calls that came last: what was to follow from it is not known."""
        if self.messages and self.messages[-1]["role"] == "assistant" and not _calls(self.messages[-1]):
            self.messages.pop()


def restored(kept: KeptConversation, thread: Thread | None = None) -> Restored:
    """The conversation as the model knew it when its process ended.

    A reply without calls that came last is left out, and asked for again: what was to follow from it is not known.

    Args:
        kept: What is on record of the call that was cut off.
        thread: What was said before it; it is gone on with.
    """
    thread = thread or Thread()
    before, summaries, own = thread.replies, thread.summaries, len(thread.messages)
    thread.read(kept.messages)
    messages = thread.messages
    if thread.has_open_calls:
        calls = _calls(messages[-1])
        left = list(kept.tool_calls)
        for message in messages[own if thread.summaries == summaries else 0 : -1]:
            for call in _calls(message):
                _take(left, call)
        cut_off = [_result(call, _take(left, call)) for call in calls]
        return Restored(
            messages=messages,
            cut_off=cut_off,
            replies=thread.replies - before,
            known_tokens=thread.known_tokens,
            new=thread.new,
        )
    thread.drop_last_words()
    return Restored(
        messages=messages,
        cut_off=[],
        # Behind a notice nothing may stand but a reply: then the turn begins again.
        replies=thread.replies - before if messages and messages[-1]["role"] != "system" else 0,
        known_tokens=thread.known_tokens,
        new=thread.new,
    )


def _is_resumed(blocks: Sequence[Mapping[str, JsonValue]]) -> bool:
    return len(blocks) == 1 and blocks[0].get("text") == RESUMED


def _blocks(message: BetaMessageParam) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", message["content"])


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
    return [block for block in _blocks(message) if block.get("type") == "tool_use"]


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
