"""Serving: the listening socket, uvicorn on it, and its end. Handles no signal, and writes no log."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from callsheet.errors import UsageError
from callsheet.groups import lone_error
from callsheet.views.safe_text import visible
from callsheet.web.access import authority

DEFAULT_PORT = 8450
MOST_CONNECTIONS = 400
REQUEST_S = 10.0
"""How long a request may take to be said: who is slower is cut off, and does not take a place from others."""
STALLED_S = 60.0
"""How long an answer may wait for its reader to take more of it."""
_KEEP_S = 30
_END_S = 2
_LONGEST_HEAD_BYTES = 32 * 1024


def listen(address: str, port: int | None) -> socket.socket:
    """A listening socket.

    Args:
        address: An address, or a name that leads to one.
        port: The port, 0 for any free one; None for the usual one or, where that is taken, any.

    Raises:
        UsageError: It cannot be had.
    """
    if port is not None:
        return _bound(address, port)
    try:
        return _bound(address, DEFAULT_PORT)
    except UsageError:
        return _bound(address, 0)


def _bound(address: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as fault:
        raise UsageError(f"{address} is no address of this machine ({fault.strerror}).") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
        listener.setblocking(False)
    except OSError as fault:
        listener.close()
        at = authority(address, port)
        raise UsageError(
            f"{at} cannot be listened on ({fault.strerror}). Name another port with --port; without it one that is "
            "free is taken."
        ) from None
    return listener


class _Bounded(H11Protocol):
    """A connection that is cut where a request is not said, or an answer not taken, in time; uvicorn waits for ever."""

    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    cycle: RequestResponseCycle | None  # type: ignore[assignment]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._arm(REQUEST_S if self.cycle.more_body else _KEEP_S + REQUEST_S)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._go_on()
        super().connection_lost(exc)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _go_on(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


class _Server(uvicorn.Server):
    """A server that says when it serves and when it has ended, and leaves signals to those who started it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = anyio.Event()
        self.ended = anyio.Event()

    def capture_signals(self) -> Any:
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serves.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.ended.set()


class _Said(logging.Handler):
    """What uvicorn has to say, on standard error, as text and nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(visible(self.format(record)) + "\n")


@contextmanager
def _told() -> Iterator[_Said]:
    """Errors of uvicorn's, tracebacks of ours among them, are said; what strangers send it is not."""
    logger, handler = logging.getLogger("uvicorn.error"), _Said(level=logging.ERROR)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket, *, at_end: Callable[[], None]) -> AsyncGenerator[None]:
    """Serves an app on a socket while the block goes on; two seconds after its end no connection is left.

    Args:
        app: What is served; its lifespan is run.
        listener: As `listen` gives it; closed at the end.
        at_end: Ends the app's streams, so that they need not be cut.
    """
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=_Bounded,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_S,
        timeout_graceful_shutdown=_END_S,
        h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
    )
    server = _Server(config)
    with _told() as said, lone_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            await server.serves.wait()
            try:
                yield
            finally:
                said.setLevel(logging.CRITICAL)  # that what is cut was cut
                at_end()
                server.should_exit = True
                with anyio.move_on_after(_END_S + 1, shield=True):
                    await server.ended.wait()
