"""The turns before: a conversation of several calls as the next request begins with it.

What was sent is sent again byte for byte, so that the service's cache serves it: messages come from the record, or
from what was reported, and nothing is put before or between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from anthropic.types.beta import BetaMessageParam

from callsheet.agents.anthropic.keeping import Thread
from callsheet.agents.anthropic.terms import Terms
from callsheet.agents.anthropic.toolbox import Toolset
from callsheet.agents.models import plain_id
from callsheet.model.conversation import Earlier, SpokenTurn
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

NOTICE_MARK = "[From Callsheet, the program that runs this workflow, and not from a person:]\n"
"""Before a notice that stands in a user's message, where a model takes no system message there."""

_NO_ANSWER = "(no answer)"
_THINKING = ("thinking", "redacted_thinking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a model is asked.

    Attributes:
        backend: Whose messages can be sent as they are.
        asked: The model as the call asks for it; `model` is its id.
        has_tools: Requests offer any tools.
        compacts: The service takes summaries back.
        takes_notices: System messages within a conversation are taken.
    """

    backend: str
    asked: str | None
    model: str
    has_tools: bool
    compacts: bool
    takes_notices: bool

    @classmethod
    def of(cls, terms: Terms, tools: Toolset) -> Way:
        """The way of one agent."""
        return cls(
            backend=terms.backend,
            asked=terms.asked,
            model=terms.model,
            has_tools=bool(tools.by_name),
            compacts=terms.compact_at_tokens is not None,
            takes_notices=terms.takes_notices,
        )


def thread_of(earlier: Earlier | None, way: Way) -> Thread:
    """What was said before; empty where there is nothing.

    A turn whose messages are not there, or are another backend's, is its prompt and its answer.
    """
    thread = Thread()
    if earlier is None:
        return thread
    for turn in earlier.turns:
        _take(thread, turn, way)
    if not way.has_tools and any(_holds(message, "tool_use") for message in thread.messages):
        return _as_pairs(earlier.turns)
    if not way.compacts and any(_holds(message, "compaction") for message in thread.messages):
        return _as_pairs(earlier.turns)
    thread.is_exact = earlier.is_same_frame
    return thread


def tell_in_text(thread: Thread) -> None:
    """Has notices stand in the user's messages."""
    thread.counted -= sum(message["role"] == "system" for message in thread.messages[: thread.counted])
    thread.messages = without_notices(thread.messages)


def notice_block(notice: str) -> dict[str, Any]:
    """A notice as part of a user's message."""
    return {"type": "text", "text": f"{NOTICE_MARK}{notice}"}


def without_notices(messages: Sequence[BetaMessageParam]) -> list[BetaMessageParam]:
    """The same messages, with each system message as part of the user's message before it."""
    kept: list[BetaMessageParam] = []
    for message in messages:
        if message["role"] != "system":
            kept.append(message)
            continue
        told = [notice_block(str(block.get("text"))) for block in cast(Any, message["content"])]
        if kept and kept[-1]["role"] == "user":
            kept[-1] = cast(BetaMessageParam, {"role": "user", "content": [*cast(Any, kept[-1]["content"]), *told]})
        else:
            kept.append(cast(BetaMessageParam, {"role": "user", "content": told}))
    return kept


def _take(thread: Thread, turn: SpokenTurn, way: Way) -> None:
    payloads = _last_beginning(turn.messages) if turn.backend == way.backend else ()
    if not any(isinstance(one, dict) and one.get("role") == "assistant" for one in payloads):
        _take_pair(thread, turn)
        return
    before = len(thread.messages)
    is_other = turn.model != way.asked
    thread.read([_for_model(one, way.model, is_other=is_other) for one in payloads])
    if thread.has_open_calls:  # damaged: a request with it would be refused
        del thread.messages[min(before, len(thread.messages)) :]
        _take_pair(thread, turn)


def _as_pairs(turns: Sequence[SpokenTurn]) -> Thread:
    thread = Thread()
    for turn in turns:
        _take_pair(thread, turn)
    return thread


def _take_pair(thread: Thread, turn: SpokenTurn) -> None:
    asked = {"role": "user", "content": [{"type": "text", "text": turn.asked}]}
    answered = {"role": "assistant", "content": [{"type": "text", "text": turn.answer.strip() or _NO_ANSWER}]}
    thread.messages += cast("list[BetaMessageParam]", [asked, answered])
    thread.known_tokens, thread.counted = None, 0


def _last_beginning(payloads: Sequence[JsonValue]) -> Sequence[JsonValue]:
    """What was said since the turn began, also where it began again in the same attempt."""
    first = _first_text(payloads[0]) if payloads else None
    if first is None:
        return payloads
    begins = [n for n, payload in enumerate(payloads) if _first_text(payload) == first]
    return payloads[begins[-1] :]


def _first_text(payload: JsonValue) -> str | None:
    if not isinstance(payload, dict) or payload.get("role") != "user":
        return None
    content = payload.get("content")
    first = content[0] if isinstance(content, list) and content else None
    text = first.get("text") if isinstance(first, dict) and first.get("type") == "text" else None
    return text if isinstance(text, str) else None


def _for_model(payload: JsonValue, model: str, *, is_other: bool) -> JsonValue:
    """A message without what another model has thought: only that one takes it back."""
    if not isinstance(payload, dict) or payload.get("role") != "assistant":
        return payload
    content = payload.get("content")
    if not isinstance(content, list) or not (is_other or _is_other(payload.get("model"), model)):
        return payload
    kept = [block for block in content if not (isinstance(block, dict) and block.get("type") in _THINKING)]
    return {**payload, "content": kept}


def _is_other(served: JsonValue, model: str) -> bool:
    """Whether a reply came from another model than one, as far as ids tell: some have a date behind them."""
    if not isinstance(served, str):
        return False
    one, other = plain_id(served), plain_id(model)
    if not (one.startswith("claude-") and other.startswith("claude-")):
        return False
    return not (one.startswith(other) or other.startswith(one))


def _holds(message: BetaMessageParam, kind: str) -> bool:
    content: Sequence[Mapping[str, Any]] = cast(Any, message["content"])
    return any(block.get("type") == kind for block in content)
