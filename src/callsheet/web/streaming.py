"""Server-sent events: an answer that goes on until there is no more to say, nobody reads, or the server ends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from callsheet.web.faults import NO_STORE

HEARTBEAT_S = 15.0
"""A line that means nothing is sent after so long a silence, so that both ends see that the other is there."""
RETRY_MS = 1_000
"""After so long a browser comes again, where the connection was lost."""
_HEARTBEAT = b": still here\n\n"


def sent_event(name: str, data: Any, *, number: int | None = None) -> bytes:
    """One event of a stream; its number is what `Last-Event-ID` says of it."""
    return framed(name, json.dumps(data, separators=(",", ":"), allow_nan=False).encode("ascii"), number=number)


def framed(name: str, data: bytes, *, number: int | None = None) -> bytes:
    """The same, of JSON that is encoded already; without line ends, as JSON in one line is."""
    head = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (head, name.encode("ascii"), data)


class EventStream(Response):
    """An answer of events as they come.

    The first is waited for before the answer begins: what goes wrong till then is an error with its own status.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], *, closing: anyio.Event) -> None:
        """An answer.

        Args:
            events: What is sent; closed in any case.
            closing: Set when the server ends.
        """
        self._events = events
        self._closing = closing
        self._lock = anyio.Lock()
        self._is_silent = True
        self.status_code = 200
        self.background = None
        self.init_headers({**NO_STORE, "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends them."""
        async with aclosing(self._events) as events:
            if scope["method"] == "HEAD":
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            first = await anext(events, None)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._until_gone, receive, tasks.cancel_scope)
                tasks.start_soon(self._until_closing, tasks.cancel_scope)
                tasks.start_soon(self._beat, send)
                await self._say(send, b"retry: %d\n\n%s" % (RETRY_MS, first or b""))
                if first is not None:
                    async for data in events:
                        await self._say(send, data)
                tasks.cancel_scope.cancel("there is no more to say")
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say(self, send: Send, data: bytes) -> None:
        async with self._lock:
            self._is_silent = False
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _beat(self, send: Send) -> None:
        while True:
            self._is_silent = True
            await anyio.sleep(HEARTBEAT_S)
            if self._is_silent:
                await self._say(send, _HEARTBEAT)

    async def _until_gone(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel("the reader has gone")

    async def _until_closing(self, scope: anyio.CancelScope) -> None:
        await self._closing.wait()
        scope.cancel("the server ends")
