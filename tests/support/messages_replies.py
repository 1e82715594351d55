"""What a loopback Messages API is told to answer, and the stream events that come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeAlias

import anyio

Block: TypeAlias = dict[str, Any]


def text(value: str) -> Block:
    return {"type": "text", "text": value}


def thinking(value: str, signature: str = "sig") -> Block:
    return {"type": "thinking", "thinking": value, "signature": signature}


def compaction(summary: str | None) -> Block:
    return {"type": "compaction", "content": summary}


def tool_use(name: str, /, id: str = "", **input: Any) -> Block:
    return {"type": "tool_use", "id": id or f"toolu_{name}", "name": name, "input": input}


def web_search(query: str, id: str = "srvtoolu_1") -> Block:
    """What a model searches for by the service's own tool."""
    return {"type": "server_tool_use", "id": id, "name": "web_search", "input": {"query": query}}


def search_results(*urls: str, id: str = "srvtoolu_1", error: str | None = None) -> Block:
    """What the service found, or why it found nothing."""
    found = [
        {
            "type": "web_search_result",
            "url": url,
            "title": f"About {url}",
            "encrypted_content": "sealed",
            "page_age": None,
        }
        for url in urls
    ]
    content: Any = {"type": "web_search_tool_result_error", "error_code": error} if error else found
    return {"type": "web_search_tool_result", "tool_use_id": id, "content": content}


@dataclass(frozen=True, slots=True)
class Say:
    """A streamed assistant message.

    Attributes:
        stop_reason: None for what the blocks imply.
        searches: How many searches of the web the service says that it made; None where it says nothing.
        pings: Ping events sent before the first block.
        cut_after: How many events are sent before the stream breaks; None for all.
        cut: How it breaks: a well-formed end without `message_stop`, a closed connection, a reset one, an `error`
            event of type `error`, or silence.
        hold: Waited for after `hold_after` events: a slow stream without a clock.
    """

    blocks: Sequence[Block]
    _: KW_ONLY
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None
    model: str | None = None
    input_tokens: int = 10
    output_tokens: int = 5
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    speed: str | None = None
    iterations: Sequence[dict[str, Any]] | None = None
    searches: int | None = None
    pings: int = 0
    cut_after: int | None = None
    cut: Literal["end", "close", "reset", "error", "silence"] = "end"
    error: str = "overloaded_error"
    hold: anyio.Event | None = None
    hold_after: int = 1


@dataclass(frozen=True, slots=True)
class Refuse:
    """An error answer in the form of the Messages API."""

    status: int
    type: str = "api_error"
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hang:
    """Takes the request and answers nothing until the client leaves; with `reset` breaks the connection at once."""

    reset: bool = False


Reply: TypeAlias = Say | Refuse | Hang


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came in. `n` counts from 1, `connection` too."""

    n: int
    connection: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages


Respond: TypeAlias = Callable[[Received], Reply]


def in_order(*replies: Reply) -> Respond:
    """Answers requests with `replies` in order of arrival; one request more than that is a 400 that says so."""
    remaining: Iterator[Reply] = iter(replies)
    surplus = Refuse(400, "invalid_request_error", f"the script of the test has only {len(replies)} replies")
    return lambda _request: next(remaining, surplus)


def events_of(say: Say, model: str, n: int) -> list[tuple[str, dict[str, Any]]]:
    """The stream events of a message."""
    usage = {
        "input_tokens": say.input_tokens,
        "output_tokens": 1,
        "cache_read_input_tokens": say.cache_read_tokens,
        "cache_creation_input_tokens": say.cache_write_tokens,
        "speed": say.speed,
        "iterations": say.iterations,
    }
    start = {"id": f"msg_{n:06}", "type": "message", "role": "assistant", "model": say.model or model, "content": []}
    message = {**start, "stop_reason": None, "stop_sequence": None, "usage": usage}
    events: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": message})]
    events += [("ping", {})] * say.pings
    for index, block in enumerate(say.blocks):
        events += _block_events(index, block)
    stop_reason = say.stop_reason or ("tool_use" if any(b["type"] == "tool_use" for b in say.blocks) else "end_turn")
    delta = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": say.stop_details}
    counts: dict[str, Any] = {"output_tokens": say.output_tokens}
    if say.searches is not None:
        counts["server_tool_use"] = {"web_search_requests": say.searches, "web_fetch_requests": 0}
    events.append(("message_delta", {"delta": delta, "usage": counts}))
    events.append(("message_stop", {}))
    return events


def _block_events(index: int, block: Block) -> list[tuple[str, dict[str, Any]]]:
    match block["type"]:
        case "text":
            opening: Block = {"type": "text", "text": ""}
            deltas: list[Block] = [{"type": "text_delta", "text": part} for part in _halves(block["text"])]
        case "thinking":
            opening = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "compaction":
            opening = {"type": "compaction", "content": None}
            deltas = [{"type": "compaction_delta", "content": block["content"], "encrypted_content": "sealed"}]
        case "web_search_tool_result":
            opening, deltas = block, []
        case _:
            opening = {**block, "input": {}}
            raw = json.dumps(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in _halves(raw)]
    return [
        ("content_block_start", {"index": index, "content_block": opening}),
        *(("content_block_delta", {"index": index, "delta": delta}) for delta in deltas),
        ("content_block_stop", {"index": index}),
    ]


def _halves(value: str) -> list[str]:
    middle = len(value) // 2
    return [part for part in (value[:middle], value[middle:]) if part]


def encode_event(name: str, data: dict[str, Any]) -> bytes:
    """One server-sent event, as the Messages API writes it."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
