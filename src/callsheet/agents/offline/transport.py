"""The Messages API in this process: an HTTP transport for the real client, with the offline model behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
from anyio.lowlevel import checkpoint

from callsheet.agents.offline.model import Block, reply, token_count

MODEL = "offline"
ASKED_HEADER = "x-callsheet-asked"


class OfflineTransport(httpx2.AsyncBaseTransport):
    """Answers `POST /v1/messages` with a stream of events, and nothing else; nothing leaves the process.

    It lets other tasks run before each event: one that never waits would starve time-outs and cancellation.
    """

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raw = await request.aread()
        await checkpoint()
        if request.url.path != "/v1/messages":
            return httpx2.Response(404, json={"type": "error", "error": {"type": "not_found_error"}}, request=request)
        body = json.loads(raw)
        whole = reply(body, asked=int(request.headers.get(ASKED_HEADER, "0")))
        blocks = _within(whole, body["max_tokens"])
        id = f"msg_{hashlib.sha256(raw).hexdigest()[:24]}"
        events = _events(
            id,
            blocks,
            input_tokens=token_count([body["messages"], body.get("system")]),
            output_tokens=min(token_count(list(whole)), body["max_tokens"]),
            is_cut=len(blocks) < len(whole),
        )
        headers = {"content-type": "text/event-stream; charset=utf-8", "request-id": f"req_{id[4:]}"}
        return httpx2.Response(200, headers=headers, stream=_Stream(events), request=request)


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            await checkpoint()
            yield f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def _within(blocks: Sequence[Block], most_tokens: int) -> Sequence[Block]:
    """As many blocks of a reply as fit: budgets hold here too. What is cut off is left out whole."""
    kept = list(blocks)
    while kept and token_count(kept) > most_tokens:
        kept.pop()
    return kept


def _events(
    id: str, blocks: Sequence[Block], *, input_tokens: int, output_tokens: int, is_cut: bool
) -> list[dict[str, Any]]:
    usage = {"input_tokens": input_tokens, "output_tokens": 1}
    message = {"id": id, "type": "message", "role": "assistant", "model": MODEL, "content": [], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}}
    ]
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            opening: Block = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            opening = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        events.append({"type": "content_block_start", "index": index, "content_block": opening})
        events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    calls = any(block["type"] == "tool_use" for block in blocks)
    reason = "max_tokens" if is_cut else "tool_use" if calls else "end_turn"
    stop = {"stop_reason": reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": output_tokens}})
    events.append({"type": "message_stop"})
    return events
