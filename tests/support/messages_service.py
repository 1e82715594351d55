"""A loopback Messages API: real HTTP/1.1 with keep-alive and server-sent events, cheap enough to measure against.

In a test::

    async with open_messages_service(in_order(Say([text("hello")]))) as service:
        client = AsyncAnthropic(base_url=service.base_url, api_key="test")

As a process of its own, which prints `listening on PORT`::

    python -m tests.support.messages_service --port 0 --latency-ms 2000 --reply tool

`GET /__stats` answers with the counts, `GET /__request` with the newest request's body, `POST /__reset` forgets them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from anyio.lowlevel import checkpoint

from tests.support.messages_replies import (
    Hang,
    Received,
    Refuse,
    Reply,
    Respond,
    Say,
    events_of,
    text,
    tool_use,
)
from tests.support.platforms import Platform, platform_of

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_STREAM_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"


class MessagesService:
    """The service's counts, and what it received. Read them from the test's own event loop.

    Attributes:
        requests: Every request to `/v1/messages`, unless `record` is off.
        in_flight, peak_in_flight: Requests taken and not yet answered to the end.
        models: What `/v1/models` lists; None for a service without it. `listings` counts who asked.
        listing_faults: Answers to the first who ask for that list.
        abandoned: Requests whose client closed the connection before the answer was complete.
        latency_s: How long a model takes to begin; refusals come at once.
    """

    def __init__(self, respond: Respond, *, latency_s: float = 0.0, record: bool = True) -> None:
        self._respond = respond
        self.latency_s = latency_s
        self._record = record
        self.models: list[dict[str, Any]] | None = None
        self.listings = 0
        self.listing_faults: list[Refuse] = []
        self._changed = asyncio.Event()
        self.port = 0
        self.open_connections: set[_Connection] = set()
        self.connections = 0
        self.server: asyncio.Server | None = None
        self.reset()

    def reset(self) -> None:
        """Sets the counts to zero."""
        self.requests: list[Received] = []
        self.newest: dict[str, Any] = {}
        self.count = self.in_flight = self.peak_in_flight = self.abandoned = 0
        self.first_request_at = 0.0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until(self, condition: Callable[[MessagesService], bool]) -> None:
        """Waits until the counts fulfil `condition`; it is looked at whenever one of them changes."""
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()

    def answer(self, request: Received) -> Reply:
        """Takes a request into the counts and chooses the reply."""
        self.first_request_at = self.first_request_at or time.time()
        self.count += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        self.newest = request.body
        if self._record:
            self.requests.append(request)
        self._changed.set()
        return self._respond(request)

    def ended(self, *, abandoned: bool) -> None:
        """Takes the end of an answer into the counts."""
        self.in_flight -= 1
        self.abandoned += abandoned
        self._changed.set()

    async def aclose(self) -> None:
        """Refuses further connections and breaks those there are. Idempotent."""
        if self.server is not None:
            self.server.close()
        for connection in list(self.open_connections):
            connection.abort()
        await checkpoint()

    def stats(self) -> dict[str, float]:
        """The counts, and when the first request came in (Unix time, 0 for not yet)."""
        return {
            "first_request_at": self.first_request_at,
            "requests": self.count,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "connections": self.connections,
            "open_connections": len(self.open_connections),
            "abandoned": self.abandoned,
        }


class _Connection(asyncio.Protocol):
    """One connection: reads a request, lets the service choose, writes the reply, and again."""

    def __init__(self, service: MessagesService) -> None:
        self._service = service
        self._buffer = b""
        self._busy = False
        self._platform = Platform(kind="messages")
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._service.connections += 1
        self._number = self._service.connections
        self._service.open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.open_connections.discard(self)
        if self._busy:
            self._end(abandoned=True)
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._busy and self._take_request():
            pass

    def _take_request(self) -> bool:
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return False
        self._buffer = rest[length:]
        method, path, _ = first.split(" ", 2)
        self._handle(method, path.partition("?")[0], headers, rest[:length])
        return True

    def _handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        if path == "/__stats":
            return self._write_json(200, self._service.stats(), {})
        if path == "/__request":
            return self._write_json(200, self._service.newest, {})
        if path == "/__reset":
            self._service.reset()
            return self._write_json(200, {}, {})
        if path == "/v1/models" and self._service.models is not None:
            self._service.listings += 1
            if self._service.listing_faults:
                refuse = self._service.listing_faults.pop(0)
                return self._write_json(refuse.status, _error(refuse.type, refuse.message), refuse.headers)
            return self._write_json(200, {"data": self._service.models, "has_more": False}, {})
        if path == "/token":  # where Google's clients get what they show to Vertex
            return self._write_json(
                200, {"access_token": "vertex-token", "expires_in": 3600, "token_type": "Bearer"}, {}
            )
        platform = platform_of(path)
        if platform is None:
            return self._write_json(404, _error("not_found_error", f"no such path: {path}"), {})
        self._platform = platform
        n = self._service.count + 1
        asked = json.loads(body)
        if platform.model is not None:
            asked["model"] = platform.model
        request = Received(n=n, connection=self._number, method=method, path=path, headers=headers, body=asked)
        self._busy = True
        reply = self._service.answer(request)
        if self._service.latency_s and isinstance(reply, Say):
            asyncio.get_running_loop().call_later(self._service.latency_s, self._reply, request, reply)
        else:
            self._reply(request, reply)
        return None

    def _reply(self, request: Received, reply: Reply) -> None:
        if not self._busy:
            return
        match reply:
            case Refuse():
                self._write_json(reply.status, self._platform.error(reply.type, reply.message), reply.headers)
                self._end()
            case Hang(reset=reset):
                if reset:
                    self._reset()
            case Say():
                events = events_of(reply, request.body["model"], request.n)
                if reply.cut_after is None and reply.hold is None:
                    body = b"".join(self._platform.event(*event) for event in events)
                    self._transport.write(self._stream_head() + _chunk(body) + b"0\r\n\r\n")
                    self._end()
                else:
                    self._task = asyncio.get_running_loop().create_task(self._stream(reply, events))

    async def _stream(self, say: Say, events: list[tuple[str, dict[str, Any]]]) -> None:
        self._transport.write(self._stream_head())
        for n, event in enumerate(events):
            if n == say.cut_after:
                return self._cut(say)
            if say.hold is not None and n == say.hold_after:
                await say.hold.wait()
            self._transport.write(_chunk(self._platform.event(*event)))
        if say.cut_after == len(events):
            return self._cut(say)
        self._transport.write(b"0\r\n\r\n")
        return self._end()

    def _stream_head(self) -> bytes:
        return _STREAM_HEAD.format(self._platform.content_type).encode()

    def _cut(self, say: Say) -> None:
        match say.cut:
            case "end":
                self._transport.write(b"0\r\n\r\n")
                self._end()
            case "error":
                self._transport.write(_chunk(self._platform.event("error", _error(say.error, "cut"))) + b"0\r\n\r\n")
                self._end()
            case "close":
                self._end()
                self._transport.close()
            case "reset":
                self._reset()
            case "silence":
                pass

    def _reset(self) -> None:
        self._end()
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _write_json(self, status: int, value: object, headers: Mapping[str, str]) -> None:
        body = json.dumps(value).encode()
        extra = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\ncontent-type: application/json\r\n{extra}"
        self._transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def _end(self, *, abandoned: bool = False) -> None:
        self._busy = False
        self._service.ended(abandoned=abandoned)


def _error(type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_test"}


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@asynccontextmanager
async def open_messages_service(
    respond: Respond, *, latency_s: float = 0.0, record: bool = True, port: int = 0
) -> AsyncIterator[MessagesService]:
    """A service on 127.0.0.1 for as long as the block lasts; `port` 0 takes a free one."""
    service = MessagesService(respond, latency_s=latency_s, record=record)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), "127.0.0.1", port, backlog=1024)
    service.port = server.sockets[0].getsockname()[1]
    service.server = server
    try:
        yield service
    finally:
        await service.aclose()


def plain(_request: Received) -> Say:
    """One turn: a short text."""
    return Say([text("The work is done.")], input_tokens=100, output_tokens=50)


def one_tool_turn(request: Received) -> Say:
    """Two turns: reads `README.md`, then a short text."""
    if any(block["type"] == "tool_result" for block in request.messages[-1]["content"] if isinstance(block, dict)):
        return plain(request)
    return Say([tool_use("read", file_path="README.md")], input_tokens=100, output_tokens=50)


def read_and_answer(request: Received) -> Reply:
    """Two turns: reads `README.md`, then answers by the tool that a schema brings."""
    reply = one_tool_turn(request)
    done = reply.blocks[0]["type"] == "text"
    return Say([tool_use("answer", done=True)], input_tokens=100, output_tokens=50) if done else reply


async def _serve(port: int, latency_s: float, respond: Respond) -> None:
    async with open_messages_service(respond, latency_s=latency_s, record=False, port=port) as service:
        sys.stdout.write(f"listening on {service.port}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serves until its standard input ends, so that no service outlives whoever started it."""
    parser = argparse.ArgumentParser(prog="messages_service")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--reply", choices=["text", "tool", "answer"], default="text")
    options = parser.parse_args()
    respond = {"text": plain, "tool": one_tool_turn, "answer": read_and_answer}[options.reply]
    asyncio.run(_serve(options.port, options.latency_ms / 1000, respond))


if __name__ == "__main__":
    main()
