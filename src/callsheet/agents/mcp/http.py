"""Streamable HTTP to a server elsewhere, with what it sends bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from callsheet.agents.mcp.config import HttpServer
from callsheet.agents.mcp.stdio import LINE_LIMIT_BYTES, UNASKED_PER_S, WAITING_MESSAGES, Pace
from callsheet.agents.piping import Witness

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams, WriteStream

_TIMES = httpx2.Timeout(30.0, read=600.0)
_ERRORS_FROM = 400


@asynccontextmanager
async def http_streams(server: HttpServer, witness: Witness) -> AsyncIterator[TransportStreams]:
    """A connection to a server. Proxies of the environment are used, as for the model service."""

    async def bounded(response: httpx2.Response) -> None:
        if response.status_code >= _ERRORS_FROM:
            witness.hear(f"the server answered {response.status_code} {response.reason_phrase}\n".encode())
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise httpx2.RemoteProtocolError("the server packed its answer, which was not asked for")
        is_stream = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Paced(response.stream) if is_stream else _Bounded(response.stream)

    headers = {**server.headers, "Accept-Encoding": "identity"}
    outgoing, waiting = anyio.create_memory_object_stream[SessionMessage](WAITING_MESSAGES)
    async with (
        outgoing,
        waiting,
        httpx2.AsyncClient(headers=headers, timeout=_TIMES, event_hooks={"response": [bounded]}) as client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=LINE_LIMIT_BYTES) as (incoming, sent),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(_hand_on, waiting, sent)
        try:
            yield incoming, outgoing
        finally:
            tasks.cancel_scope.cancel("the connection is closed")


async def _hand_on(source: MemoryObjectReceiveStream[SessionMessage], sink: WriteStream[SessionMessage]) -> None:
    """Takes messages from those who send them, who then need not wait for the ones before theirs."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for message in source:
            await sink.send(message)


class _Bounded(httpx2.AsyncByteStream):
    """A body that breaks off where it is longer than any message should be."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._body:
            size += len(piece)
            if size > LINE_LIMIT_BYTES:
                raise httpx2.StreamError(f"the answer has more than {LINE_LIMIT_BYTES} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


class _Paced(httpx2.AsyncByteStream):
    """A stream of events, so many a second; each has its own bound."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body
        self._pace = Pace(UNASKED_PER_S)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            for line in piece.splitlines(keepends=True):
                if line.startswith(b"data:"):
                    await self._pace.wait()
                yield line

    async def aclose(self) -> None:
        await self._body.aclose()
