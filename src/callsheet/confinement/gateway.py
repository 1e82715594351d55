"""The one way out of a command's network, for allowed hosts: a port in it that the host's filtering proxy serves."""

from __future__ import annotations

import array
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from callsheet.confinement.proxy import FilterProxy
from callsheet.model.dataclass import dataclass

BRIDGE = Path(__file__).with_name("bridge.py")
_PORT = 3128
_MOST_CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What the command needs to reach the proxy.

    Attributes:
        descriptor: Inherited by the bridge, closed here.
        environ: The proxy variables that programs look at.
    """

    descriptor: int
    environ: dict[str, str]

    def bridged(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The command, started by the bridge."""
        return (
            *(os.path.realpath(sys.executable), "-I", "-S", "-B", os.path.realpath(BRIDGE)),
            *(str(self.descriptor), str(_PORT), *argv),
        )


@asynccontextmanager
async def open_gateway(hosts: tuple[str, ...], *, proxy: FilterProxy | None = None) -> AsyncIterator[Gateway]:
    """Serves the proxy on the port that a bridge opens, until the context is left.

    Args:
        hosts: Patterns as in `NetworkHosts`.
        proxy: Another than the one made from `hosts`.
    """
    served = proxy or FilterProxy(hosts)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    address = f"http://127.0.0.1:{_PORT}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    environ = {**dict.fromkeys(names, address), "no_proxy": "localhost,127.0.0.1", "NO_PROXY": "localhost,127.0.0.1"}
    with ours, theirs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_serve, ours, served)
            try:
                yield Gateway(descriptor=theirs.fileno(), environ=environ)
            finally:
                tasks.cancel_scope.cancel("the command has ended")


async def _serve(host: socket.socket, proxy: FilterProxy) -> None:
    listener = await _handed_over(host)
    if listener is None:
        return
    listener.setblocking(False)
    room = anyio.Semaphore(_MOST_CONNECTIONS)
    with listener:
        async with anyio.create_task_group() as tasks:
            while True:
                await room.acquire()
                await anyio.wait_readable(listener)
                try:
                    connection, _ = listener.accept()
                except OSError:  # it went away between the two
                    room.release()
                    continue
                tasks.start_soon(_answer, connection, proxy, room)


async def _answer(connection: socket.socket, proxy: FilterProxy, room: anyio.Semaphore) -> None:
    try:
        async with await anyio.abc.SocketStream.from_socket(connection) as stream:
            await proxy.serve(stream)
    finally:
        room.release()


async def _handed_over(host: socket.socket) -> socket.socket | None:
    """The listening socket that the bridge made; None where it ended without one."""
    await anyio.wait_readable(host)
    size = array.array("i").itemsize
    try:
        _, sent, _, _ = host.recvmsg(1, socket.CMSG_SPACE(size))
    except OSError:
        return None
    for level, kind, data in sent:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(data) >= size:
            (descriptor,) = array.array("i", data[:size])
            return socket.socket(fileno=descriptor)
    return None
